// Two versions of a model beside each other: on the same images, or told that they are not.

import { useQuery } from "@tanstack/react-query";
import { ArrowRight, TriangleAlert } from "lucide-react";
import { useSearchParams } from "react-router";
import { get, type Schemas } from "../api/client";
import { Select } from "../ui/controls";
import { figure, metric, words } from "../ui/format";
import { Failure, Loading } from "../ui/states";
import type { Version } from "./ModelPage";

const LOWER_IS_BETTER = /loss|error|_ms$|_s$|ece/;
const NEITHER_IS_BETTER = /temperature|count|confidence|threshold/;
const SAME = 5e-4; // as far apart as the last digit shown

export function Compare({ name, versions }: { name: string; versions: readonly Version[] }) {
  const [address, setAddress] = useSearchParams();
  const a = address.get("a") ?? String(versions[1]?.version ?? versions[0]!.version);
  const b = address.get("b") ?? String(versions[0]!.version);
  const found = useQuery({
    queryKey: ["models", name, "compare", a, b],
    queryFn: () => get<Schemas["ComparisonOut"]>(`/api/models/${name}/compare`, { a, b }),
  });
  const choices = versions.map(({ version }) => ({ value: String(version), label: `v${version}` }));
  const set = (changes: Record<string, string>): void =>
    setAddress({ tab: "compare", a, b, ...changes }, { replace: true });
  const parameters = Object.entries(found.data?.parameters ?? {});
  return (
    <div className="page-body stack">
      <div className="row">
        <Select
          bare
          label="First version"
          value={a}
          options={choices}
          onChange={(value) => set({ a: value })}
        />
        <ArrowRight size={16} className="muted" aria-hidden />
        <Select
          bare
          label="Second version"
          value={b}
          options={choices}
          onChange={(value) => set({ b: value })}
        />
      </div>
      {found.isError && <Failure what="They cannot be compared" error={found.error} />}
      {found.isPending && <Loading what="Comparing…" />}
      {found.data && !found.data.is_comparable && (
        <p className="notice" role="note">
          <TriangleAlert size={16} className="warn-text" aria-hidden /> {found.data.reason}
        </p>
      )}
      {found.data && (
        <div className="columns">
          <Differences heading="Figures" a={a} b={b} rows={found.data.metrics} />
          <Differences heading="By class" a={a} b={b} rows={found.data.per_class} />
          {parameters.length > 0 && (
            <section className="panel">
              <header>
                <h2>Parameters that differ</h2>
              </header>
              <table className="table">
                <tbody>
                  {parameters.map(([parameter, values]) => (
                    <tr key={parameter}>
                      <td className="muted">{words(parameter)}</td>
                      <td>{String((values as unknown[])[0] ?? "—")}</td>
                      <td>{String((values as unknown[])[1] ?? "—")}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </section>
          )}
        </div>
      )}
    </div>
  );
}

function Differences({
  heading,
  a,
  b,
  rows,
}: {
  heading: string;
  a: string;
  b: string;
  rows: readonly Schemas["FigureDifferenceOut"][];
}) {
  const known = rows.filter((row) => row.a !== null || row.b !== null);
  if (!known.length) return null;
  return (
    <section className="panel">
      <header>
        <h2>{heading}</h2>
      </header>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and holds nothing else to focus */}
      <div className="scroll" role="region" tabIndex={0} aria-label={heading}>
        <table className="table">
          <thead>
            <tr>
              <th>Figure</th>
              <th className="right">v{a}</th>
              <th className="right">v{b}</th>
              <th className="right">Difference</th>
            </tr>
          </thead>
          <tbody>
            {known.map(({ name, a: one, b: other, difference }) => (
              <tr key={name}>
                <td>{figure(name)}</td>
                <td className="right muted">{one === null ? "—" : metric(name, one)}</td>
                <td className="right">{other === null ? "—" : metric(name, other)}</td>
                <td className={`right ${toneOf(name, difference)}`}>
                  {difference === null ? "" : signed(name, difference)}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function toneOf(name: string, difference: number | null): string {
  if (!difference || Math.abs(difference) < SAME || NEITHER_IS_BETTER.test(name)) return "muted";
  return difference > 0 !== LOWER_IS_BETTER.test(name) ? "good-text" : "bad-text";
}

function signed(name: string, difference: number): string {
  const sign = Math.abs(difference) < SAME ? "±" : difference > 0 ? "+" : "−";
  return `${sign}${metric(name, Math.abs(difference)).replace("%", " pt")}`;
}
