// What stands right of the image: classes, predictions, shapes, tags, light.

import { useQuery } from "@tanstack/react-query";
import { Check, Eye, EyeOff, Lock, LockOpen, Trash2, X } from "lucide-react";
import { type CSSProperties, type PointerEvent, useEffect, useRef, useState } from "react";
import { Button, IconButton, Select } from "../ui/controls";
import { percent } from "../ui/format";
import { readCutters } from "./api";
import { BRUSH_MAX, BRUSH_MIN, type Editor, type EditorState, USUAL_LIGHT } from "./editor";
import { CLASS_KEYS } from "./keymap";
import type { LabelShape } from "./model";
import type { Work } from "./work";

/** After a slider was dragged, keys are the image's again: Tab, arrows and Enter too. */
const giveBack = (event: PointerEvent<HTMLInputElement>): void => event.currentTarget.blur();

export type ColourOf = (className: string) => string;
const tint = (colour: string): CSSProperties => ({ "--class-colour": colour }) as CSSProperties;

export function Classes({
  classes,
  colourOf,
  current,
  onChoose,
}: {
  classes: readonly string[];
  colourOf: ColourOf;
  current: string;
  onChoose: (className: string) => void;
}) {
  const [text, setText] = useState("");
  const wanted = text.trim().toLowerCase();
  const found = classes.filter((name) => name.toLowerCase().includes(wanted));
  return (
    <section aria-label="Classes">
      <header>
        <h3>
          Classes<span className="num">{classes.length}</span>
        </h3>
      </header>
      {classes.length > CLASS_KEYS.length + 3 && (
        <input
          type="search"
          aria-label="Find a class"
          placeholder="Find a class"
          value={text}
          onChange={(event) => setText(event.target.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && found[0]) {
              onChoose(found[0]);
              setText("");
              event.currentTarget.blur();
            }
          }}
        />
      )}
      <div className="class-list">
        {found.map((name) => {
          const digit = CLASS_KEYS[classes.indexOf(name)];
          return (
            <button
              key={name}
              type="button"
              className="class-item"
              style={tint(colourOf(name))}
              aria-pressed={name === current}
              onClick={() => onChoose(name)}
            >
              <span className="swatch" aria-hidden />
              <span className="name">{name}</span>
              {digit && <kbd>{digit}</kbd>}
            </button>
          );
        })}
      </div>
    </section>
  );
}

export function Predictions({ editor, state }: { editor: Editor; state: EditorState }) {
  const all = state.history.present.predictions;
  const shown = editor.predictions;
  const below = all.length - shown.length;
  return (
    <section aria-label="Predictions">
      <header>
        <h3>
          Predictions<span className="num">{shown.length}</span>
        </h3>
        {below > 0 && <span className="faint num">{below} below the line</span>}
      </header>
      <label className="slider">
        Confidence
        <input
          type="range"
          min={0}
          max={1}
          step={0.01}
          value={state.threshold}
          onChange={(event) => editor.setThreshold(Number(event.target.value))}
          onPointerUp={giveBack}
        />
        <output>≥ {Math.round(100 * state.threshold)}%</output>
      </label>
      {shown.length > 0 && (
        <div className="row">
          <Button size="s" icon={Check} onClick={() => editor.acceptAll()}>
            Accept all
          </Button>
          <Button size="s" icon={X} onClick={() => editor.dismissAll()}>
            Dismiss all
          </Button>
        </div>
      )}
    </section>
  );
}

export function Shapes({
  editor,
  state,
  colourOf,
}: {
  editor: Editor;
  state: EditorState;
  colourOf: ColourOf;
}) {
  const { shapes } = state.history.present;
  const predictions = editor.predictions;
  const place = useRef<HTMLUListElement>(null);
  const { selected } = state;
  useEffect(() => {
    if (selected) place.current?.querySelector(".selected")?.scrollIntoView({ block: "nearest" });
  }, [selected]);
  const count = shapes.length + predictions.length;
  return (
    <section aria-label="Shapes">
      <header>
        <h3>
          On this image<span className="num">{count}</span>
        </h3>
        {count > 0 && (
          <IconButton
            size="s"
            icon={state.allHidden ? EyeOff : Eye}
            label={state.allHidden ? "Show every shape" : "Hide every shape"}
            pressed={state.allHidden}
            onClick={() => editor.set({ allHidden: !state.allHidden })}
          />
        )}
      </header>
      {count === 0 && (
        <p className="faint">Nothing yet. Submitting it so says that there is nothing to see.</p>
      )}
      <ul ref={place} className="shape-list">
        {shapes.map((shape) => (
          <Row
            key={shape.id}
            shape={shape}
            editor={editor}
            state={state}
            colourOf={colourOf}
            undecided={false}
          />
        ))}
        {predictions.map((shape) => (
          <Row
            key={shape.id}
            shape={shape}
            editor={editor}
            state={state}
            colourOf={colourOf}
            undecided
          />
        ))}
      </ul>
    </section>
  );
}

const WORDS = { image: "whole image", box: "box", polygon: "polygon", mask: "mask" } as const;

function Row({
  shape,
  editor,
  state,
  colourOf,
  undecided,
}: {
  shape: LabelShape;
  editor: Editor;
  state: EditorState;
  colourOf: ColourOf;
  undecided: boolean;
}) {
  const { id, className, geometry, confidence, kept } = shape;
  const isSelected = state.selected === id;
  const isHidden = state.hidden.has(id) || state.allHidden;
  const isLocked = state.locked.has(id);
  const act = (then: () => void) => () => {
    editor.set({ selected: id });
    then();
  };
  return (
    <li
      className={["shape-item", isSelected ? "selected" : "", isHidden ? "gone" : ""].join(" ")}
      style={tint(colourOf(className))}
    >
      <button
        type="button"
        className="pick"
        aria-pressed={isSelected}
        onClick={() => editor.set({ selected: isSelected ? null : id })}
        onMouseEnter={() => editor.set({ hovered: id })}
        onMouseLeave={() => editor.set({ hovered: null })}
      >
        <span className={undecided ? "swatch undecided" : "swatch"} aria-hidden />
        <span className="name">{className}</span>
        <span className="num" title={kept && "As the dataset has it; nobody changed it here"}>
          {kept && "kept "}
          {confidence === null ? WORDS[geometry.kind] : percent(confidence, 0)}
        </span>
      </button>
      {undecided ? (
        <>
          <IconButton
            size="s"
            icon={Check}
            label={`Accept ${className}`}
            onClick={act(() => editor.accept())}
          />
          <IconButton
            size="s"
            icon={X}
            label={`Dismiss ${className}`}
            onClick={act(() => editor.dismiss())}
          />
        </>
      ) : (
        <>
          {geometry.kind !== "image" && (
            <>
              <IconButton
                size="s"
                icon={isLocked ? Lock : LockOpen}
                label={isLocked ? `Unlock ${className}` : `Lock ${className}`}
                pressed={isLocked}
                onClick={() => editor.toggleLocked(id)}
              />
              <IconButton
                size="s"
                icon={isHidden ? EyeOff : Eye}
                label={isHidden ? `Show ${className}` : `Hide ${className}`}
                pressed={isHidden}
                onClick={() => editor.toggleHidden(id)}
              />
            </>
          )}
          <IconButton
            size="s"
            icon={Trash2}
            label={`Delete ${className}`}
            disabled={isLocked || state.readOnly}
            onClick={act(() => editor.delete())}
          />
        </>
      )}
    </li>
  );
}

export function Tags({
  editor,
  state,
  known,
}: {
  editor: Editor;
  state: EditorState;
  known: readonly string[];
}) {
  const [text, setText] = useState("");
  const { tags } = state.history.present;
  return (
    <section aria-label="Tags">
      <header>
        <h3>Tags</h3>
      </header>
      <div className="tags">
        {tags.map((tag) => (
          <button
            key={tag}
            type="button"
            className="tag"
            onClick={() => editor.toggleTag(tag)}
            aria-label={`Remove the tag ${tag}`}
          >
            {tag} <X size={12} aria-hidden />
          </button>
        ))}
        <input
          aria-label="Add a tag"
          placeholder="Add…"
          list="known-tags"
          maxLength={63}
          value={text}
          disabled={state.readOnly}
          onChange={(event) => setText(event.target.value)}
          onKeyDown={(event) => {
            if (event.key === "Escape") event.currentTarget.blur();
            if (event.key !== "Enter") return;
            event.preventDefault();
            const tag = text.trim().toLowerCase().replaceAll(" ", "-");
            if (tag && !tags.includes(tag)) editor.toggleTag(tag);
            setText("");
          }}
        />
        <datalist id="known-tags">
          {known.map((tag) => (
            <option key={tag} value={tag} />
          ))}
        </datalist>
      </div>
    </section>
  );
}

export function LightAndBrush({ editor, state }: { editor: Editor; state: EditorState }) {
  const { brightness, contrast } = state.light;
  const isUsual = brightness === USUAL_LIGHT.brightness && contrast === USUAL_LIGHT.contrast;
  const slider = (label: string, value: number, set: (value: number) => void) => (
    <label className="slider">
      {label}
      <input
        type="range"
        min={0.2}
        max={3}
        step={0.05}
        value={value}
        onChange={(event) => set(Number(event.target.value))}
        onPointerUp={giveBack}
      />
      <output>{Math.round(100 * value)}%</output>
    </label>
  );
  return (
    <section aria-label="View">
      <header>
        <h3>View</h3>
        {!isUsual && (
          <Button size="s" tone="quiet" onClick={() => editor.set({ light: USUAL_LIGHT })}>
            Reset
          </Button>
        )}
      </header>
      {(state.tool === "brush" || state.tool === "eraser") && (
        <label className="slider">
          Brush
          <input
            type="range"
            min={BRUSH_MIN}
            max={BRUSH_MAX / 4}
            value={state.brush}
            onChange={(event) => editor.set({ brush: Number(event.target.value) })}
            onPointerUp={giveBack}
          />
          <output>{state.brush} px</output>
        </label>
      )}
      {slider("Brightness", brightness, (value) =>
        editor.set({ light: { brightness: value, contrast } }),
      )}
      {slider("Contrast", contrast, (value) =>
        editor.set({ light: { brightness, contrast: value } }),
      )}
    </section>
  );
}

/** Which tool cuts out what one points at. */
export function Cutters({ work }: { work: Work }) {
  const cutters = useQuery({
    queryKey: ["cutters"],
    queryFn: readCutters,
    staleTime: Number.POSITIVE_INFINITY,
  });
  const [chosen, setChosen] = useState(work.cutter);
  const about = cutters.data?.find(({ name }) => name === chosen)?.about;
  if (!cutters.data) return null;
  return (
    <section aria-label="Smart tool">
      <header>
        <h3>Smart tool</h3>
      </header>
      <Select
        bare
        label="What cuts out"
        value={chosen}
        options={cutters.data.map(({ name }) => name)}
        onChange={(name) => {
          work.cutter = name;
          setChosen(name);
        }}
      />
      {about && <p className="faint">{about}</p>}
    </section>
  );
}
