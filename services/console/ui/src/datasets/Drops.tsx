// What an import left out, and why.

import { useInfiniteQuery } from "@tanstack/react-query";
import { ImageOff, PackageCheck } from "lucide-react";
import { useCallback, useState } from "react";
import { get, type Schemas } from "../api/client";
import { Segmented } from "../ui/controls";
import { number, words } from "../ui/format";
import { Empty, Failure, Loading } from "../ui/states";
import { More } from "./Items";

const PAGE = 100;
const DIGEST = /^[0-9a-f]{64}$/;

export function Drops({ version }: { version: { name: string; version: number } }) {
  const [reason, setReason] = useState("");
  const pages = useInfiniteQuery({
    queryKey: ["datasets", version.name, version.version, "drops", reason],
    queryFn: ({ pageParam, signal }) =>
      get<Schemas["DropsOut"]>(
        `/api/datasets/${version.name}/versions/${version.version}/drops`,
        { reason, cursor: pageParam, limit: PAGE },
        signal,
      ),
    initialPageParam: "",
    getNextPageParam: (last) => last.next_cursor ?? undefined,
    staleTime: Number.POSITIVE_INFINITY,
  });
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = pages;
  const more = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, fetchNextPage]);
  if (pages.isError)
    return <Failure what="What was left out cannot be shown" error={pages.error} />;
  if (!pages.data) return <Loading what="Reading what was left out…" />;
  const first = pages.data.pages[0]!;
  const total = Object.values(first.counts).reduce((sum, count) => sum + count, 0);
  const drops = pages.data.pages.flatMap((page) => page.drops);
  if (total === 0) {
    return (
      <Empty icon={PackageCheck} title="Everything was taken in">
        This import left nothing out.
      </Empty>
    );
  }
  return (
    <div className="stack">
      <Segmented
        label="Reason"
        value={reason}
        options={[
          { value: "", label: `All ${number(total)}` },
          ...Object.entries(first.counts).map(([value, count]) => ({
            value,
            label: `${words(value)} ${number(count)}`,
          })),
        ]}
        onChange={setReason}
      />
      <div className="panel">
        <table className="table">
          <thead>
            <tr>
              <th>Picture</th>
              <th>File</th>
              <th>Reason</th>
              <th>Detail</th>
            </tr>
          </thead>
          <tbody>
            {drops.map((drop) => (
              <tr key={drop.key}>
                <td style={{ width: 64 }}>
                  <Picture drop={drop} />
                </td>
                <td className="mono" title={drop.uri}>
                  {within(first.source, drop.key)}
                </td>
                <td>{words(drop.reason)}</td>
                <td className="muted">
                  {drop.repeats ? (
                    <span className="row">
                      {drop.thumbnail_url && (
                        <img
                          className="drop-thumb"
                          src={drop.thumbnail_url}
                          alt=""
                          loading="lazy"
                        />
                      )}
                      {DIGEST.test(drop.repeats)
                        ? "repeats an image that the dataset has"
                        : `repeats ${within(first.source, drop.repeats)}`}
                    </span>
                  ) : (
                    drop.detail
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {hasNextPage && <More onSeen={more} />}
    </div>
  );
}

/** A file's path from where the import began: an upload's folder has a name that nobody chose. */
function within(source: string, key: string): string {
  const begin = source.split("/").slice(4).join("/");
  return begin && key.startsWith(begin) ? key.slice(begin.length).replace(/^\//, "") : key;
}

/** The file itself; what has none says why, in place of it. */
function Picture({ drop }: { drop: Schemas["DropOut"] }) {
  const shown = drop.picture || (drop.reason === "exact_duplicate" ? drop.thumbnail_url : "");
  if (shown) return <img className="drop-thumb" src={shown} alt="" loading="lazy" />;
  const why = `No picture: ${words(drop.reason)}`;
  return (
    <span className="drop-thumb none" role="img" aria-label={why} title={why}>
      <ImageOff size={16} aria-hidden />
    </span>
  );
}
