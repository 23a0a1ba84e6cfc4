// A modal dialogue on the browser's own <dialog>: it keeps the focus and closes on Escape.

import { X } from "lucide-react";
import { type ReactNode, useLayoutEffect, useRef } from "react";
import { Button, IconButton } from "./controls";
import { Refusal } from "./states";

export function Dialog({
  title,
  onClose,
  children,
  actions,
  error,
  wide = false,
}: {
  title: string;
  onClose: () => void;
  children: ReactNode;
  actions?: ReactNode;
  /** Stands above the actions, wherever a long dialogue was scrolled to. */
  error?: unknown;
  wide?: boolean;
}) {
  const place = useRef<HTMLDialogElement>(null);
  // Before anything is painted: what one presses once it is there is for it.
  useLayoutEffect(() => {
    const dialog = place.current;
    if (!dialog || dialog.open) return;
    dialog.showModal();
    // Where one types, else what one came for: not the cross, which the browser would take.
    const first =
      dialog.querySelector<HTMLElement>(".dialog-body :is(input, textarea, select)") ??
      dialog.querySelector<HTMLElement>("footer .button:last-child");
    first?.focus();
  }, []);
  return (
    <dialog
      ref={place}
      className={wide ? "dialog wide" : "dialog"}
      aria-label={title}
      onClose={onClose}
    >
      <header>
        <h2>{title}</h2>
        <IconButton icon={X} label="Close" onClick={onClose} />
      </header>
      <div className="dialog-body">{children}</div>
      <Refusal error={error} />
      {actions && <footer>{actions}</footer>}
    </dialog>
  );
}

/** Asks before something that others will notice. */
export function Confirm({
  title,
  children,
  yes,
  tone = "primary",
  busy = false,
  error,
  onYes,
  onClose,
}: {
  title: string;
  children: ReactNode;
  yes: string;
  tone?: "primary" | "danger";
  busy?: boolean;
  error?: unknown;
  onYes: () => void;
  onClose: () => void;
}) {
  return (
    <Dialog
      title={title}
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button tone={tone} disabled={busy} onClick={onYes}>
            {busy ? "Working…" : yes}
          </Button>
        </>
      }
    >
      {children}
      <Refusal error={error} />
    </Dialog>
  );
}
