// Which key does what on the labeling page. People can change it; what they changed is kept in the
// browser, by name of the action, so that a new version's keys reach those who changed others.

export type Action = {
  readonly id: string;
  readonly label: string;
  readonly group: "Image" | "Tools" | "Shapes" | "Predictions" | "View";
  readonly key: string;
};

const action = <const Id extends string>(
  group: Action["group"],
  id: Id,
  key: string,
  label: string,
) => ({ id, label, group, key });

export const ACTIONS = [
  action("Image", "submit", "Enter", "Submit and go to the next image"),
  action("Image", "skip", "x", "Skip: leave it to somebody else"),
  action("Image", "next", "ArrowRight", "Next image"),
  action("Image", "previous", "ArrowLeft", "Previous image"),
  action("Image", "copy_previous", "c", "Copy the shapes of the previous image"),
  action("Image", "reject", "Shift+Enter", "Reject with a comment (review)"),
  action("Tools", "tool_select", "v", "Select and move"),
  action("Tools", "tool_box", "b", "Draw a box"),
  action("Tools", "tool_polygon", "p", "Draw a polygon"),
  action("Tools", "tool_brush", "m", "Paint a mask"),
  action("Tools", "tool_eraser", "e", "Erase from a mask"),
  action("Tools", "tool_smart", "s", "Smart: a box or a click becomes a mask"),
  action("Tools", "tool_pan", "h", "Move the view"),
  action("Tools", "brush_smaller", "[", "Smaller brush"),
  action("Tools", "brush_larger", "]", "Larger brush"),
  action("Shapes", "undo", "Ctrl+z", "Undo"),
  action("Shapes", "redo", "Ctrl+Shift+z", "Redo"),
  action("Shapes", "delete", "Delete", "Delete the selected shape"),
  action("Shapes", "duplicate", "Ctrl+d", "Duplicate the selected shape"),
  action("Shapes", "select_next", "Tab", "Select the next shape"),
  action("Shapes", "select_previous", "Shift+Tab", "Select the previous shape"),
  action("Shapes", "nudge_left", "Alt+ArrowLeft", "Nudge left by a pixel"),
  action("Shapes", "nudge_right", "Alt+ArrowRight", "Nudge right by a pixel"),
  action("Shapes", "nudge_up", "Alt+ArrowUp", "Nudge up by a pixel"),
  action("Shapes", "nudge_down", "Alt+ArrowDown", "Nudge down by a pixel"),
  action("Shapes", "hide", "i", "Hide or show the selected shape"),
  action("Shapes", "hide_all", "Shift+i", "Hide or show every shape"),
  action("Shapes", "lock", "l", "Lock or unlock the selected shape"),
  action("Shapes", "cancel", "Escape", "Leave what is being drawn; select nothing"),
  action("Predictions", "accept", "a", "Accept the selected prediction"),
  action("Predictions", "accept_all", "Shift+a", "Accept every prediction that is shown"),
  action("Predictions", "dismiss", "d", "Dismiss the selected prediction"),
  action("Predictions", "dismiss_all", "Shift+d", "Dismiss every prediction"),
  action("Predictions", "surer", ".", "Show only surer predictions"),
  action("Predictions", "less_sure", ",", "Show less sure predictions too"),
  action("View", "fit", "f", "Fit the image into the window"),
  action("View", "zoom_in", "+", "Zoom in"),
  action("View", "zoom_out", "-", "Zoom out"),
  action("View", "actual_size", "0", "One pixel for each pixel"),
  action("View", "keys", "?", "Show these keys"),
] as const satisfies readonly Action[];

export type ActionId = (typeof ACTIONS)[number]["id"];
export type Keymap = ReadonlyMap<string, ActionId>;
export type Changes = Partial<Record<ActionId, string>>;

/** Digits choose classes: they cannot be given to something else. */
export const CLASS_KEYS: readonly string[] = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];

type Pressed = Pick<KeyboardEvent, "key" | "ctrlKey" | "metaKey" | "altKey" | "shiftKey">;

/** "Ctrl+Shift+z": what was pressed, in the words of the key map. Cmd counts as Ctrl. */
export function chord(event: Pressed): string {
  const parts: string[] = [];
  if (event.ctrlKey || event.metaKey) parts.push("Ctrl");
  if (event.altKey) parts.push("Alt");
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  // Of signs ("?", "+") the shift is part already.
  const isSign = event.key.length === 1 && event.key.toLowerCase() === event.key.toUpperCase();
  if (event.shiftKey && !isSign) parts.push("Shift");
  return [...parts, key].join("+");
}

export function keyOf(id: ActionId, changes: Changes): string {
  return changes[id] ?? ACTIONS.find((one) => one.id === id)!.key;
}

export function keymap(changes: Changes): Keymap {
  const map = new Map<string, ActionId>();
  for (const { id } of ACTIONS) map.set(keyOf(id, changes), id);
  return map;
}

/** Gives an action a key; whoever had it gets the key that becomes free. */
export function rebind(changes: Changes, id: ActionId, key: string): Changes {
  const holder = ACTIONS.find((one) => one.id !== id && keyOf(one.id, changes) === key);
  const next: Changes = { ...changes, [id]: key };
  if (holder) next[holder.id] = keyOf(id, changes);
  for (const { id: each, key: usual } of ACTIONS) if (next[each] === usual) delete next[each];
  return next;
}

export function mayBind(key: string): boolean {
  const bare = ["Control", "Alt", "Shift", "Meta", "Dead", "Unidentified"];
  return !bare.some((name) => key.endsWith(name)) && !CLASS_KEYS.some((digit) => digit === key);
}

/** "Ctrl+Shift+z" reads "Ctrl ⇧ Z". */
export function spoken(key: string): string {
  const signs: Record<string, string> = {
    ArrowLeft: "←",
    ArrowRight: "→",
    ArrowUp: "↑",
    ArrowDown: "↓",
    Shift: "⇧",
    Escape: "Esc",
    Delete: "Del",
    " ": "Space",
    Enter: "↵",
  };
  const parts = key === "+" ? ["+"] : key.split("+");
  return parts
    .map((part) => signs[part] ?? (part.length === 1 ? part.toUpperCase() : part))
    .join(" ");
}
