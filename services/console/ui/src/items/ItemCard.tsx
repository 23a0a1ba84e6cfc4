// An image with its shapes, as a tile of a grid and large in a dialogue.

import "../styles/items.css";
import { ChevronLeft, ChevronRight } from "lucide-react";
import { useEffect } from "react";
import { imageUrl, type Schemas, thumbnailUrl } from "../api/client";
import { Chip, IconButton } from "../ui/controls";
import { Digest, Facts } from "../ui/data";
import { Dialog } from "../ui/dialog";
import { bytes, percent, words } from "../ui/format";
import { type Drawable, type Mark, Overlay, wholeImage } from "../ui/Overlay";

export type Item = Schemas["ItemOut"];
type ColourOf = (className: string) => string;

const DRAWN_FROM = 0.3; // confidence
const TINY_PX = 96; // smaller images are shown as pixels

export function Picture({
  item,
  colourOf,
  large = false,
  shapes = item.shapes,
  markOf,
}: {
  item: Pick<Item, "asset" | "width_px" | "height_px" | "shapes">;
  colourOf: ColourOf;
  large?: boolean;
  shapes?: readonly Drawable[];
  markOf?: (shape: Drawable) => Mark;
}) {
  const tiny = Math.max(item.width_px, item.height_px) <= TINY_PX;
  return (
    <>
      <img
        className={tiny ? "tiny" : ""}
        src={large ? imageUrl(item.asset) : thumbnailUrl(item.asset, 256)}
        alt={wholeImage(shapes) || `${shapes.length} shapes`}
        loading="lazy"
        decoding="async"
      />
      <Overlay
        width={item.width_px}
        height={item.height_px}
        shapes={shapes}
        colourOf={colourOf}
        {...(markOf && { markOf })}
      />
    </>
  );
}

/** What one line says of an item: the label, and the prediction where it is another. */
export function Verdict({ item }: { item: Item }) {
  const label = wholeImage(item.shapes);
  const said = item.predicted ? wholeImage(item.predicted) : "";
  const count = item.shapes.length;
  if (said && label && said !== label) {
    return (
      <span className="what" title={`Labeled ${label}, predicted ${said}`}>
        {label} <span className="wrong">≠ {said}</span>
      </span>
    );
  }
  if (label) return <span className="what">{label}</span>;
  if (said) return <span className="what faint">{said} (predicted)</span>;
  if (count)
    return (
      <span className="what">{count === 1 ? item.shapes[0]!.class_name : `${count} shapes`}</span>
    );
  return <span className="what faint">{item.is_labeled ? "empty" : "unlabeled"}</span>;
}

export function ItemCard({
  item,
  colourOf,
  onOpen,
}: {
  item: Item;
  colourOf: ColourOf;
  onOpen: () => void;
}) {
  return (
    <button type="button" className="item" onClick={onOpen}>
      <div className="item-picture">
        <Picture
          item={item}
          colourOf={colourOf}
          shapes={[...item.shapes, ...boxesOf(item.predicted)]}
          markOf={markPredicted(item)}
        />
      </div>
      <div className="item-foot">
        <Verdict item={item} />
        {item.score !== null ? (
          <span className="faint num">{percent(item.score, 0)}</span>
        ) : (
          <span className="faint">{item.split}</span>
        )}
      </div>
    </button>
  );
}

/** Predicted shapes worth drawing over the labels: the list beside the image names all of them. */
const boxesOf = (shapes: readonly Drawable[] | null): readonly Drawable[] =>
  (shapes ?? []).filter(
    (shape) =>
      (shape.bbox_xyxy || shape.polygon || shape.mask_rle) && (shape.confidence ?? 1) >= DRAWN_FROM,
  );

const markPredicted =
  (item: Item) =>
  (shape: Drawable): Mark =>
    (item.predicted as readonly Drawable[] | null)?.includes(shape) ? "predicted" : "";

export function ItemViewer({
  item,
  colourOf,
  onClose,
  onMove,
}: {
  item: Item;
  colourOf: ColourOf;
  onClose: () => void;
  onMove: (by: 1 | -1) => void;
}) {
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.key === "ArrowRight") onMove(1);
      if (event.key === "ArrowLeft") onMove(-1);
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [onMove]);
  const shapes = [...item.shapes, ...boxesOf(item.predicted)];
  return (
    <Dialog wide title={wholeImage(item.shapes) || "Image"} onClose={onClose}>
      <div className="viewer">
        <div className="viewer-picture">
          <Picture
            item={item}
            colourOf={colourOf}
            large
            shapes={shapes}
            markOf={markPredicted(item)}
          />
        </div>
        <div className="stack" style={{ gap: 16 }}>
          <div className="row">
            <IconButton icon={ChevronLeft} label="Previous" keys="←" onClick={() => onMove(-1)} />
            <IconButton icon={ChevronRight} label="Next" keys="→" onClick={() => onMove(1)} />
          </div>
          <Facts
            rows={[
              ["Size", `${item.width_px} × ${item.height_px}, ${bytes(item.size_bytes)}`],
              ["Split", item.split || "none"],
              ["Score", item.score === null ? "" : percent(item.score)],
              ["Disagreement", item.disagreement === null ? "" : percent(item.disagreement)],
              ["Tags", item.tags.length ? item.tags.join(", ") : ""],
              ["Source", item.source],
              ["Asset", <Digest key="asset" value={item.asset} />],
            ]}
          />
          <ShapeList heading="Labels" shapes={item.shapes} colourOf={colourOf} />
          <ShapeList heading="Predicted" shapes={item.predicted ?? []} colourOf={colourOf} />
        </div>
      </div>
    </Dialog>
  );
}

const LISTED_MAX = 12;

function ShapeList({
  heading,
  shapes,
  colourOf,
}: {
  heading: string;
  shapes: readonly Schemas["ShapeOut"][];
  colourOf: ColourOf;
}) {
  if (!shapes.length) return null;
  return (
    <section>
      <h3>{heading}</h3>
      <ul>
        {shapes.slice(0, LISTED_MAX).map((shape) => (
          <li key={shape.id} className="row" style={{ minHeight: 26 }}>
            <span
              className="swatch"
              style={{
                background: colourOf(shape.class_name),
                width: 10,
                height: 10,
                borderRadius: 3,
              }}
              aria-hidden
            />
            {shape.class_name}
            {shape.confidence !== null && (
              <span className="faint num">{percent(shape.confidence, 0)}</span>
            )}
            {shape.source && (
              <Chip title={shape.source}>
                {words(shape.source.replace(/^(model|import):.*/, "$1"))}
              </Chip>
            )}
          </li>
        ))}
      </ul>
      {shapes.length > LISTED_MAX && <p className="faint">and {shapes.length - LISTED_MAX} more</p>}
    </section>
  );
}
