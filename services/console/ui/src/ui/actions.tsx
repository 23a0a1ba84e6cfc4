// The last column of a table: what can be done with a row.

import type { ReactNode } from "react";

export function ActionsHead() {
  return (
    <th>
      <span className="visually-hidden">What can be done</span>
    </th>
  );
}

export function Actions({ children }: { children: ReactNode }) {
  return <div className="row end">{children}</div>;
}
