// A confusion matrix: rows are the truth, columns what the model said. Colour tells the share of a row.

import { Fragment } from "react";
import type { Schemas } from "../api/client";
import { number, percent } from "../ui/format";

type Counts = Schemas["Confusion"];
const NUMBERS_MAX = 14; // classes; past that the colour alone tells

export function Confusion({
  confusion,
  onOpen,
}: {
  confusion: Counts;
  onOpen: (truth: string, predicted: string) => void;
}) {
  const { labels, counts } = confusion;
  const columns = `minmax(64px, max-content) repeat(${labels.length}, minmax(18px, 1fr))`;
  return (
    <div
      className="confusion"
      style={{ gridTemplateColumns: columns }}
      role="group"
      aria-label="Confusion matrix: rows true, columns predicted"
    >
      <span className="corner faint">true ↓ said →</span>
      {labels.map((label) => (
        <span key={label} className="column" title={label}>
          <span>{label}</span>
        </span>
      ))}
      {labels.map((truth, row) => {
        const total = (counts[row] ?? []).reduce((sum, count) => sum + count, 0);
        return (
          <Fragment key={truth}>
            <span className="row-name" title={`${truth}: ${number(total)}`}>
              {truth}
            </span>
            {labels.map((predicted, column) => {
              const count = counts[row]?.[column] ?? 0;
              const share = total ? count / total : 0;
              const said = `${truth} taken for ${predicted}: ${number(count)}, ${percent(share)}`;
              return (
                <button
                  key={predicted}
                  type="button"
                  className={row === column ? "cell right-cell" : "cell wrong-cell"}
                  style={{ "--share": count ? Math.max(0.05, share) : 0 } as React.CSSProperties}
                  title={said}
                  aria-label={said}
                  disabled={count === 0}
                  onClick={() => onOpen(truth, predicted)}
                >
                  {labels.length <= NUMBERS_MAX && count > 0 ? count : ""}
                </button>
              );
            })}
          </Fragment>
        );
      })}
    </div>
  );
}
