// The images of a version, filtered; the filters are in the address.

import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { SearchX, SquarePen } from "lucide-react";
import { useCallback, useEffect, useRef, useState } from "react";
import { useSearchParams } from "react-router";
import { get, type Schemas } from "../api/client";
import { useMay } from "../app/session";
import { ItemCard, ItemViewer } from "../items/ItemCard";
import { NewJob } from "../label/NewJob";
import { Button, Select } from "../ui/controls";
import { number, plural } from "../ui/format";
import { Empty, Failure, Loading } from "../ui/states";
import type { Version } from "./DatasetPage";

const PAGE = 60;
const LABELS_ONLY = "none"; // of this page: the server always finds some
const FILTERS = [
  "class_name",
  "split",
  "tag",
  "source",
  "labeled",
  "predictions",
  "score_max",
  "disagreement_min",
] as const;
type Filter = (typeof FILTERS)[number];

export function Items({
  version,
  colourOf,
}: {
  version: Version;
  colourOf: (name: string) => string;
}) {
  const [address, setAddress] = useSearchParams();
  const filters = Object.fromEntries(
    FILTERS.map((name) => [name, address.get(name) ?? ""]),
  ) as Record<Filter, string>;
  const labelsOnly = filters.predictions === LABELS_ONLY;
  const asked = labelsOnly ? { ...filters, predictions: "" } : filters;
  const base = `/api/datasets/${version.name}/versions/${version.version}`;
  const facets = useQuery({
    queryKey: ["datasets", version.name, version.version, "facets"],
    queryFn: () => get<Schemas["FacetsOut"]>(`${base}/facets`),
    staleTime: Number.POSITIVE_INFINITY,
  });
  const pages = useInfiniteQuery({
    queryKey: ["datasets", version.name, version.version, "items", asked],
    queryFn: ({ pageParam, signal }) =>
      get<Schemas["ItemsOut"]>(
        `${base}/items`,
        { ...asked, cursor: pageParam, limit: PAGE },
        signal,
      ),
    initialPageParam: "",
    getNextPageParam: (last) => last.next_cursor ?? undefined,
    staleTime: Number.POSITIVE_INFINITY, // a version never changes
  });
  const set = (name: Filter, value: string): void => {
    const next = new URLSearchParams(address);
    if (value) next.set(name, value);
    else next.delete(name);
    setAddress(next, { replace: true });
  };
  const clear = (): void => setAddress({ tab: "images" }, { replace: true });
  const found = pages.data?.pages.flatMap((page) => page.items) ?? [];
  const items = labelsOnly
    ? found.map((item) => ({ ...item, predicted: null, score: null }))
    : found;
  const scanned = pages.data?.pages.reduce((sum, page) => sum + page.scanned, 0) ?? 0;
  const isFiltered = FILTERS.some((name) => filters[name]);
  const [open, setOpen] = useState<number | null>(null);
  const mayOperate = useMay("operate");
  const [isLabeling, setLabeling] = useState(false);
  const move = useCallback(
    (by: 1 | -1) =>
      setOpen((at) => (at === null ? null : Math.min(items.length - 1, Math.max(0, at + by)))),
    [items.length],
  );
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = pages;
  const more = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, fetchNextPage]);
  return (
    <div className="page-body stack">
      <Filters
        filters={filters}
        facets={facets.data}
        onSet={set}
        onClear={isFiltered ? clear : null}
        onLabel={mayOperate && items.length > 0 ? () => setLabeling(true) : null}
      />
      {isLabeling && (
        <NewJob begin={{ version, filter: asked }} onClose={() => setLabeling(false)} />
      )}
      {pages.isPending && <Loading what="Reading the images…" />}
      {pages.isError && (
        <Failure
          what="The images cannot be shown"
          error={pages.error}
          retry={() => void pages.refetch()}
        />
      )}
      {pages.isSuccess && items.length === 0 && !hasNextPage && (
        <Empty
          icon={SearchX}
          title="No image is like that"
          action={<Button onClick={clear}>Clear the filters</Button>}
        >
          {number(scanned)} images were looked at.
        </Empty>
      )}
      <div className="items">
        {items.map((item, index) => (
          <ItemCard
            key={item.asset}
            item={item}
            colourOf={colourOf}
            onOpen={() => setOpen(index)}
          />
        ))}
      </div>
      {hasNextPage && <More onSeen={more} scanned={scanned} found={items.length} />}
      {open !== null && items[open] && (
        <ItemViewer
          item={items[open]}
          colourOf={colourOf}
          onClose={() => setOpen(null)}
          onMove={move}
        />
      )}
    </div>
  );
}

/** Asks for the next page when one comes near the end of this one. */
export function More({
  onSeen,
  scanned,
  found,
}: {
  onSeen: () => void;
  scanned?: number;
  found?: number;
}) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const watcher = new IntersectionObserver(([entry]) => entry?.isIntersecting && onSeen(), {
      rootMargin: "600px",
    });
    if (place.current) watcher.observe(place.current);
    return () => watcher.disconnect();
  }, [onSeen]);
  return (
    <div ref={place} className="more muted" role="status">
      {scanned !== undefined && found !== undefined && scanned > found
        ? `${plural(found, "image")} found in ${number(scanned)} so far…`
        : "More…"}
    </div>
  );
}

function Filters({
  filters,
  facets,
  onSet,
  onClear,
  onLabel,
}: {
  filters: Record<Filter, string>;
  facets: Schemas["FacetsOut"] | undefined;
  onSet: (name: Filter, value: string) => void;
  onClear: (() => void) | null;
  onLabel: (() => void) | null;
}) {
  const some = (any: string, counts: Record<string, number> = {}) => [
    { value: "", label: any },
    ...Object.entries(counts).map(([value, count]) => ({
      value,
      label: `${value || "none"} (${number(count)})`,
    })),
  ];
  return (
    <div className="filters">
      <Select
        label="Class"
        value={filters.class_name}
        options={some("Any", facets?.classes)}
        onChange={(value) => onSet("class_name", value)}
      />
      <Select
        label="Split"
        value={filters.split}
        options={some("Any", facets?.splits)}
        onChange={(value) => onSet("split", value)}
      />
      <Select
        label="Labeled"
        value={filters.labeled}
        options={[
          { value: "", label: "Any" },
          { value: "true", label: "Labeled" },
          { value: "false", label: "Unlabeled" },
        ]}
        onChange={(value) => onSet("labeled", value)}
      />
      {Object.keys(facets?.tags ?? {}).length > 0 && (
        <Select
          label="Tag"
          value={filters.tag}
          options={some("Any", facets?.tags)}
          onChange={(value) => onSet("tag", value)}
        />
      )}
      {Object.keys(facets?.sources ?? {}).length > 1 && (
        <Select
          label="Source"
          value={filters.source}
          options={some("Any", facets?.sources)}
          onChange={(value) => onSet("source", value)}
        />
      )}
      {(facets?.predictions.length ?? 0) > 0 && (
        <Select
          label="Predictions"
          value={filters.predictions}
          options={[
            { value: "", label: "Latest" },
            { value: LABELS_ONLY, label: "Labels only" },
            ...facets!.predictions.map(({ ref, model, count }) => ({
              value: `${ref.name}@${ref.version}`,
              label: `${model.label} (${number(count)})`,
            })),
          ]}
          onChange={(value) => onSet("predictions", value)}
        />
      )}
      {filters.predictions !== LABELS_ONLY && (facets?.predictions.length ?? 0) > 0 && (
        <>
          <Range
            label="Score"
            sign="≤"
            means="Score at most"
            value={filters.score_max || "1"}
            usual="1"
            onChange={(value) => onSet("score_max", value)}
          />
          <Range
            label="Disagreement"
            sign="≥"
            means="Disagreement at least"
            value={filters.disagreement_min || "0"}
            usual="0"
            onChange={(value) => onSet("disagreement_min", value)}
          />
        </>
      )}
      {onClear && (
        <Button tone="quiet" onClick={onClear}>
          Clear
        </Button>
      )}
      {onLabel && (
        <Button className="to-end" icon={SquarePen} onClick={onLabel}>
          Label these
        </Button>
      )}
    </div>
  );
}

function Range({
  label,
  sign,
  means,
  value,
  usual,
  onChange,
}: {
  label: string;
  sign: string;
  means: string;
  value: string;
  usual: string;
  onChange: (value: string) => void;
}) {
  const [at, setAt] = useState(value);
  const done = (): void => onChange(at === usual ? "" : at);
  return (
    <label className="field range">
      <span>
        {label} {sign} {Math.round(100 * Number(at))}%
      </span>
      <input
        aria-label={means}
        type="range"
        min={0}
        max={1}
        step={0.01}
        value={at}
        onChange={(event) => setAt(event.target.value)}
        onPointerUp={done}
        onKeyUp={done}
      />
    </label>
  );
}
