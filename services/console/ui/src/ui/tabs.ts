/** The tab that an address names; `first` where it names none, or one that is not there. */
export function tabOf<Id extends string>(
  address: URLSearchParams,
  tabs: readonly { id: Id }[],
  first: Id,
): Id {
  const named = address.get("tab");
  return tabs.find(({ id }) => id === named)?.id ?? first;
}
