// `?`: which key does what, and changing it.

import { RotateCcw } from "lucide-react";
import { useState } from "react";
import { Button } from "../ui/controls";
import { Dialog } from "../ui/dialog";
import {
  ACTIONS,
  type ActionId,
  type Changes,
  chord,
  keyOf,
  mayBind,
  rebind,
  spoken,
} from "./keymap";

const GROUPS = ["Image", "Tools", "Shapes", "Predictions", "View"] as const;

export function KeysDialog({
  changes,
  onChange,
  onClose,
}: {
  changes: Changes;
  onChange: (changes: Changes) => void;
  onClose: () => void;
}) {
  const [asking, setAsking] = useState<ActionId | null>(null);
  return (
    <Dialog
      wide
      title="Keys"
      onClose={onClose}
      actions={
        <Button
          icon={RotateCcw}
          disabled={!Object.keys(changes).length}
          onClick={() => onChange({})}
        >
          Back to the usual keys
        </Button>
      }
    >
      <p className="muted">
        Digits <kbd>1</kbd> to <kbd>9</kbd> choose a class. Hold <kbd>Space</kbd> and drag to move
        the view. Click a key to change it.
      </p>
      <div className="keys">
        {GROUPS.map((group) => (
          <section key={group}>
            <h3>{group}</h3>
            {ACTIONS.filter((action) => action.group === group).map(({ id, label }) => (
              <div key={id} className="key-row">
                <span>{label}</span>
                <button
                  type="button"
                  className={changes[id] ? "key changed" : "key"}
                  aria-label={`${label}: ${asking === id ? "press a key" : spoken(keyOf(id, changes))}`}
                  onClick={() => setAsking(asking === id ? null : id)}
                  onBlur={() => setAsking(null)}
                  onKeyDown={(event) => {
                    if (asking !== id) return;
                    event.preventDefault();
                    event.stopPropagation();
                    const key = chord(event.nativeEvent);
                    if (!mayBind(key)) return;
                    onChange(rebind(changes, id, key));
                    setAsking(null);
                  }}
                >
                  {asking === id ? "press…" : spoken(keyOf(id, changes))}
                </button>
              </div>
            ))}
          </section>
        ))}
      </div>
    </Dialog>
  );
}
