// The versions of a dataset as a log, and going back to one.

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { GitCompare, RotateCcw, Tag } from "lucide-react";
import { useState } from "react";
import { Link } from "react-router";
import { type Schemas, send } from "../api/client";
import { useMay } from "../app/session";
import { tell } from "../app/toasts";
import { Button, Chip, Field } from "../ui/controls";
import { Confirm, Dialog } from "../ui/dialog";
import { ago, moment, number, plural, title, words } from "../ui/format";
import { Refusal } from "../ui/states";
import type { Version } from "./DatasetPage";

export function Versions({
  versions,
  current,
}: {
  versions: readonly Version[];
  current: Version;
}) {
  const mayOperate = useMay("operate");
  const [restoring, setRestoring] = useState<Version | null>(null);
  const [naming, setNaming] = useState<Version | null>(null);
  const head = versions[0]!;
  return (
    <div className="page-body stack">
      <section className="panel log" aria-label="Versions">
        {versions.map((version) => (
          <div
            key={version.version}
            className={version.version === current.version ? "log-entry current" : "log-entry"}
          >
            <span className="rail" aria-hidden>
              <i />
            </span>
            <div className="what">
              <div className="row">
                <Link to={`/datasets/${version.name}/${version.version}`}>
                  <strong>v{version.version}</strong>
                </Link>
                {version.tags.map((tag) => (
                  <Chip key={tag} tone="accent">
                    {tag}
                  </Chip>
                ))}
                <span className="muted">{title(version.run_kind)}</span>
                {version.restored_from > 0 && <Chip>restored from v{version.restored_from}</Chip>}
              </div>
              {version.summary && <p className="muted">{version.summary}</p>}
              <p className="faint" title={moment(version.committed_at)}>
                {[
                  plural(version.items, "image"),
                  ...Object.entries(version.changes)
                    .filter(([, count]) => count)
                    .map(([name, count]) => `${number(count)} ${words(name)}`),
                  version.actor?.name ?? "",
                  ago(version.committed_at),
                ]
                  .filter(Boolean)
                  .join(" · ")}
              </p>
            </div>
            <div className="acts">
              {version.version > 1 && (
                <Link
                  className="button s"
                  to={`/datasets/${version.name}?tab=diff&a=${version.version - 1}&b=${version.version}`}
                >
                  <GitCompare size={14} aria-hidden /> What changed
                </Link>
              )}
              {mayOperate && version !== head && (
                <Button size="s" icon={RotateCcw} onClick={() => setRestoring(version)}>
                  Restore
                </Button>
              )}
              {mayOperate && (
                <Button size="s" icon={Tag} onClick={() => setNaming(version)}>
                  Tag
                </Button>
              )}
            </div>
          </div>
        ))}
      </section>
      {restoring && <Restore version={restoring} head={head} onClose={() => setRestoring(null)} />}
      {naming && <Name version={naming} onClose={() => setNaming(null)} />}
    </div>
  );
}

export function Restore({
  version,
  head,
  onClose,
}: {
  version: Version;
  head: Version;
  onClose: () => void;
}) {
  const queries = useQueryClient();
  const restore = useMutation({
    mutationFn: () =>
      send<Version>("POST", `/api/datasets/${version.name}/restore`, { version: version.version }),
    onSuccess: (made) => {
      tell(`${made.name} v${made.version} is what v${version.version} was`);
      void queries.invalidateQueries({ queryKey: ["datasets"] });
      onClose();
    },
  });
  return (
    <Confirm
      title={`Restore ${version.name} v${version.version}?`}
      yes={`Restore v${version.version}`}
      busy={restore.isPending}
      error={restore.error}
      onYes={() => restore.mutate()}
      onClose={onClose}
    >
      <p>
        Its {plural(version.items, "image")} become version {head.version + 1}. Nothing is lost: v
        {head.version}, with {plural(head.items, "image")}, stays where it is. Flows that watch this
        dataset react as to any new version.
      </p>
    </Confirm>
  );
}

function Name({ version, onClose }: { version: Version; onClose: () => void }) {
  const queries = useQueryClient();
  const [tag, setTag] = useState("");
  const name = useMutation({
    mutationFn: () =>
      send<Schemas["VersionOut"]>("POST", `/api/datasets/${version.name}/tags`, {
        tag,
        version: version.version,
      }),
    onSuccess: () => {
      tell(`v${version.version} is called ${tag}`);
      void queries.invalidateQueries({ queryKey: ["datasets"] });
      onClose();
    },
  });
  return (
    <Dialog
      title={`Tag v${version.version}`}
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button tone="primary" disabled={!tag || name.isPending} onClick={() => name.mutate()}>
            Tag
          </Button>
        </>
      }
    >
      <Field
        label="Tag"
        hint="a-z, 0-9, - and _; a tag that is elsewhere moves here"
        value={tag}
        onChange={(event) => setTag(event.target.value)}
      />
      <Refusal error={name.error} />
    </Dialog>
  );
}
