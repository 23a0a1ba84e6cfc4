// Facts, trees, bars and digests: how pages show what the log says.

import type { ReactNode } from "react";
import { tell } from "../app/toasts";
import { short, words } from "./format";

const DIGEST = /^(.*:)?[0-9a-f]{32,64}$/;

export function Facts({ rows }: { rows: [name: string, value: ReactNode][] }) {
  const kept = rows.filter(([, value]) => value !== "" && value !== null && value !== undefined);
  if (!kept.length) return null;
  return (
    <dl className="facts">
      {kept.map(([name, value]) => (
        <div key={name} style={{ display: "contents" }}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** An id that nobody reads: short, whole when hovered, copied when clicked. */
export function Digest({ value }: { value: string }) {
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(value);
    tell("Copied");
  };
  return (
    <button
      type="button"
      className="digest"
      title={`${value} (click to copy)`}
      onClick={() => void copy()}
    >
      {DIGEST.test(value) ? short(value) : value}
    </button>
  );
}

const isEmpty = (value: unknown): boolean =>
  value === null ||
  value === undefined ||
  value === "" ||
  (Array.isArray(value) && value.length === 0) ||
  (typeof value === "object" && Object.keys(value).length === 0);

/** Any JSON, readable. */
export function Tree({ value }: { value: unknown }) {
  if (typeof value !== "object" || value === null) return <Leaf value={value} />;
  const rows = Object.entries(value).filter(([, inner]) => !isEmpty(inner));
  return (
    <dl className="facts tree">
      {rows.map(([name, inner]) => (
        <div key={name} style={{ display: "contents" }}>
          <dt>{Array.isArray(value) ? `${Number(name) + 1}` : words(name)}</dt>
          {isDeep(inner) ? (
            <dd className="deep">
              <Tree value={inner} />
            </dd>
          ) : (
            <Leaf value={inner} />
          )}
        </div>
      ))}
    </dl>
  );
}

const isDeep = (value: unknown): boolean =>
  typeof value === "object" &&
  value !== null &&
  !(Array.isArray(value) && value.every((one) => typeof one !== "object"));

function Leaf({ value }: { value: unknown }) {
  if (Array.isArray(value)) return <dd>{value.join(", ")}</dd>;
  const text = String(value);
  if (text.includes("\n")) {
    return (
      <dd className="deep">
        <pre>{text}</pre>
      </dd>
    );
  }
  return <dd>{DIGEST.test(text) ? <Digest value={text} /> : text}</dd>;
}

/** Bars beside each other's names, the longest first. */
export function Bars({
  rows,
  say,
  most,
  sorted = true,
}: {
  rows: [name: string, value: number][];
  say: (value: number) => string;
  most?: number;
  sorted?: boolean;
}) {
  const shown = sorted ? rows.toSorted((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])) : rows;
  const longest = most ?? Math.max(...rows.map(([, value]) => value), 0);
  return (
    <div className="bars">
      {shown.map(([name, value]) => (
        <div key={name} className="bar">
          <span className="name" title={name}>
            {name}
          </span>
          <span className="track">
            <i style={{ width: `${(100 * value) / (longest || 1)}%` }} />
          </span>
          <span className="num">{say(value)}</span>
        </div>
      ))}
    </div>
  );
}
