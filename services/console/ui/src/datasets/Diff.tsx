// Two versions beside each other: what was added, what went, which shapes changed.

import { useInfiniteQuery } from "@tanstack/react-query";
import { ArrowRight, Equal } from "lucide-react";
import { useCallback } from "react";
import { useSearchParams } from "react-router";
import { get, type Schemas } from "../api/client";
import { Picture, Verdict } from "../items/ItemCard";
import { Chip, Segmented, Select } from "../ui/controls";
import { number, words } from "../ui/format";
import type { Mark } from "../ui/Overlay";
import { wholeImage } from "../ui/Overlay";
import { Empty, Failure, Loading } from "../ui/states";
import type { Version } from "./DatasetPage";
import { More } from "./Items";

type DiffPage = Schemas["DiffOut"];
type Changed = Schemas["ChangedItemOut"];
type ColourOf = (name: string) => string;
const KINDS = ["changed", "added", "removed"] as const;
type Kind = (typeof KINDS)[number];
const TONES = { added: "good", removed: "bad", changed: "warn" } as const;
const PAGE = 60;

export function Diff({
  versions,
  current,
  colourOf,
}: {
  versions: readonly Version[];
  current: Version;
  colourOf: ColourOf;
}) {
  const [address, setAddress] = useSearchParams();
  const a = address.get("a") ?? String(Math.max(1, current.version - 1));
  const b = address.get("b") ?? String(current.version);
  const { name } = current;
  const pages = useInfiniteQuery({
    queryKey: ["datasets", name, "diff", a, b],
    queryFn: ({ pageParam, signal }) =>
      get<DiffPage>(`/api/datasets/${name}/diff`, { a, b, cursor: pageParam, limit: PAGE }, signal),
    initialPageParam: "",
    getNextPageParam: (last) => last.next_cursor ?? undefined,
    staleTime: Number.POSITIVE_INFINITY,
    enabled: a !== b,
  });
  const counts = pages.data?.pages[0]?.counts ?? {};
  const wanted = address.get("show") as Kind | null;
  const kind = wanted ?? KINDS.find((one) => counts[one]) ?? "changed";
  const set = (changes: Record<string, string>): void => {
    setAddress(
      { ...Object.fromEntries(address), tab: "diff", a, b, ...changes },
      { replace: true },
    );
  };
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = pages;
  const more = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, fetchNextPage]);
  const choices = versions.map(({ version }) => ({ value: String(version), label: `v${version}` }));
  const all = pages.data?.pages ?? [];
  return (
    <div className="page-body stack">
      <div className="row wrap" style={{ gap: 12 }}>
        <Select
          bare
          label="From version"
          value={a}
          options={choices}
          onChange={(value) => set({ a: value })}
        />
        <ArrowRight size={16} className="muted" aria-hidden />
        <Select
          bare
          label="To version"
          value={b}
          options={choices}
          onChange={(value) => set({ b: value })}
        />
        {all.length > 0 && (
          <Segmented
            label="What to show"
            value={kind}
            options={KINDS.map((one) => ({
              value: one,
              label: `${words(one)} ${number(counts[one] ?? 0)}`,
            }))}
            onChange={(value) => set({ show: value })}
          />
        )}
      </div>
      {a === b && (
        <Empty icon={Equal} title="A version does not differ from itself">
          Choose another one above.
        </Empty>
      )}
      {pages.isError && (
        <Failure
          what="The difference cannot be shown"
          error={pages.error}
          retry={() => void pages.refetch()}
        />
      )}
      {a !== b && pages.isPending && <Loading what="Comparing…" />}
      {pages.isSuccess && !counts[kind] && (
        <Empty icon={Equal} title={`Nothing was ${kind}`}>
          Between v{a} and v{b}, no image was {kind}.
        </Empty>
      )}
      {kind === "changed" ? (
        <div className="items wide-items">
          {all
            .flatMap((page) => page.changed)
            .map((one) => (
              <ChangedCard key={one.after.asset} change={one} colourOf={colourOf} />
            ))}
        </div>
      ) : (
        <div className="items">
          {all
            .flatMap((page) => page[kind])
            .map((item) => (
              <div key={item.asset} className="item">
                <div className="item-picture">
                  <Picture item={item} colourOf={colourOf} />
                  <span className="item-mark">
                    <Chip tone={TONES[kind]}>{kind}</Chip>
                  </span>
                </div>
                <div className="item-foot">
                  <Verdict item={item} />
                  <span className="faint">{item.split}</span>
                </div>
              </div>
            ))}
        </div>
      )}
      {hasNextPage && <More onSeen={more} />}
    </div>
  );
}

function ChangedCard({ change, colourOf }: { change: Changed; colourOf: ColourOf }) {
  const { before, after } = change;
  const mark =
    (of: readonly string[], as: Mark) =>
    (shape: { id?: string }): Mark =>
      change.changed_shapes.includes(shape.id ?? "")
        ? "changed"
        : of.includes(shape.id ?? "")
          ? as
          : "";
  const was = wholeImage(before.shapes);
  const is = wholeImage(after.shapes);
  return (
    <div className="item">
      <div className="diff-pair">
        <div className="item-picture">
          <Picture
            item={before}
            colourOf={colourOf}
            markOf={mark(change.removed_shapes, "removed")}
          />
        </div>
        <div className="item-picture">
          <Picture item={after} colourOf={colourOf} markOf={mark(change.added_shapes, "added")} />
        </div>
      </div>
      <div className="item-foot">
        <span className="what">
          {was !== is ? (
            <>
              <span className={was ? "wrong" : "faint"}>{was || "unlabeled"}</span> →{" "}
              {is || "nothing"}
            </>
          ) : (
            shapesSaid(change) || is || change.changed_fields.map(words).join(", ")
          )}
        </span>
        <span className="faint">{after.split}</span>
      </div>
    </div>
  );
}

function shapesSaid({ added_shapes, removed_shapes, changed_shapes }: Changed): string {
  return [
    added_shapes.length ? `+${added_shapes.length}` : "",
    removed_shapes.length ? `−${removed_shapes.length}` : "",
    changed_shapes.length ? `~${changed_shapes.length}` : "",
  ]
    .filter(Boolean)
    .join("  ");
}
