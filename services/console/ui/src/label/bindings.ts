// What each action of the key map does. An action that did nothing says so (false), and the key stays
// the browser's.

import type { RefObject } from "react";
import type { Editor } from "./editor";
import type { Gestures } from "./gestures";
import type { ActionId } from "./keymap";
import type { Work } from "./work";

type Act = () => unknown;
type Elsewhere = { showKeys: () => void; reject: () => void };

const ZOOM = 1.25;
const NUDGE = 1; // px

export function bindings(
  editor: Editor,
  work: Work,
  gestures: RefObject<Gestures | null>,
  elsewhere: Elsewhere,
): Record<ActionId, Act> {
  const tool =
    (name: Editor["state"]["tool"]): Act =>
    () => {
      gestures.current?.cancel();
      editor.set({ tool: name });
    };
  return {
    // Enter closes the polygon at hand before it submits anything.
    submit: () => gestures.current?.finish() || (!gestures.current?.isDrawing && work.submit()),
    skip: () => work.skip(),
    next: () => work.next(),
    previous: () => work.back(),
    copy_previous: () => work.copyPrevious(),
    reject: elsewhere.reject,
    tool_select: tool("select"),
    tool_box: tool("box"),
    tool_polygon: tool("polygon"),
    tool_brush: tool("brush"),
    tool_eraser: tool("eraser"),
    tool_smart: tool("smart"),
    tool_pan: tool("pan"),
    brush_smaller: () => editor.growBrush(-1),
    brush_larger: () => editor.growBrush(1),
    undo: () => gestures.current?.undoCorner() || editor.undo(),
    redo: () => editor.redo(),
    delete: () => editor.delete(),
    duplicate: () => editor.duplicate(),
    select_next: () => editor.selectNext(1),
    select_previous: () => editor.selectNext(-1),
    nudge_left: () => editor.nudge(-NUDGE, 0),
    nudge_right: () => editor.nudge(NUDGE, 0),
    nudge_up: () => editor.nudge(0, -NUDGE),
    nudge_down: () => editor.nudge(0, NUDGE),
    hide: () => editor.toggleHidden(),
    hide_all: () => editor.set({ allHidden: !editor.state.allHidden }),
    lock: () => editor.toggleLocked(),
    cancel: () => gestures.current?.cancel() || editor.set({ selected: null, tool: "select" }),
    accept: () => editor.accept(),
    accept_all: () => editor.acceptAll(),
    dismiss: () => editor.dismiss(),
    dismiss_all: () => editor.dismissAll(),
    surer: () => editor.stepThreshold(1),
    less_sure: () => editor.stepThreshold(-1),
    fit: () => editor.fit(),
    zoom_in: () => editor.zoom(ZOOM),
    zoom_out: () => editor.zoom(1 / ZOOM),
    actual_size: () => editor.actualSize(),
    keys: elsewhere.showKeys,
  };
}
