// What a page says when there is nothing, when it waits, and when something went wrong.

import { CircleAlert, type LucideIcon } from "lucide-react";
import { Component, type ReactNode } from "react";
import { reasonOf } from "../api/errors";
import { Button } from "./controls";

/** Nothing here yet, and what to do about it. */
export function Empty({
  icon: Icon,
  title,
  children,
  action,
}: {
  icon?: LucideIcon;
  title: string;
  children?: ReactNode;
  action?: ReactNode;
}) {
  return (
    <div className="state">
      {Icon && <Icon size={28} strokeWidth={1.5} aria-hidden />}
      <h2>{title}</h2>
      {children && <div className="state-text">{children}</div>}
      {action}
    </div>
  );
}

/** What happened, in the words of whoever refused, and the way to try again. */
export function Failure({
  error,
  what,
  retry,
}: {
  error: unknown;
  what: string;
  retry?: () => void;
}) {
  return (
    <div className="state" role="alert">
      <CircleAlert size={28} strokeWidth={1.5} className="bad-text" aria-hidden />
      <h2>{what}</h2>
      <p className="state-text">{reasonOf(error)}</p>
      {retry && <Button onClick={retry}>Try again</Button>}
    </div>
  );
}

export function Loading({ what }: { what: string }) {
  return (
    <div className="state loading" role="status">
      <span className="spinner" aria-hidden />
      <span className="muted">{what}</span>
    </div>
  );
}

/** A note inside a page: an answer that was a refusal. */
export function Refusal({ error }: { error: unknown }) {
  if (!error) return null;
  return (
    <p className="refusal" role="alert">
      <CircleAlert size={14} aria-hidden /> {reasonOf(error)}
    </p>
  );
}

/** Keeps a fault of one page from taking the shell along. */
export class Boundary extends Component<{ children: ReactNode }, { error: unknown }> {
  override state = { error: null as unknown };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override render() {
    if (this.state.error === null) return this.props.children;
    return (
      <Failure
        what="This page failed"
        error={this.state.error}
        retry={() => this.setState({ error: null })}
      />
    );
  }
}
