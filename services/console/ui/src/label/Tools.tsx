// The tools, left of the image.

import {
  Brush,
  Eraser,
  Hand,
  Hexagon,
  Keyboard,
  Maximize,
  MousePointer2,
  Redo2,
  Sparkles,
  Square,
  Undo2,
} from "lucide-react";
import { IconButton } from "../ui/controls";
import type { Editor, EditorState, Tool } from "./editor";
import { canRedo, canUndo } from "./history";
import { type ActionId, type Changes, keyOf, spoken } from "./keymap";

const SIGNS: Record<Tool, { icon: typeof Brush; label: string; action: ActionId; shape: string }> =
  {
    select: { icon: MousePointer2, label: "Select and move", action: "tool_select", shape: "" },
    box: { icon: Square, label: "Box", action: "tool_box", shape: "box" },
    polygon: { icon: Hexagon, label: "Polygon", action: "tool_polygon", shape: "polygon" },
    brush: { icon: Brush, label: "Brush", action: "tool_brush", shape: "mask" },
    eraser: { icon: Eraser, label: "Eraser", action: "tool_eraser", shape: "mask" },
    smart: {
      icon: Sparkles,
      label: "Smart: a box or click becomes a mask",
      action: "tool_smart",
      shape: "mask",
    },
    pan: { icon: Hand, label: "Move the view", action: "tool_pan", shape: "" },
  };

/** Whether a job lets one draw with a tool; a job that names no shapes lets one draw all. */
export function isAllowed(tool: Tool, shapes: readonly string[]): boolean {
  const { shape } = SIGNS[tool];
  return shape === "" || shapes.length === 0 || shapes.includes(shape);
}

export function ToolRail({
  editor,
  state,
  shapes,
  keys,
  onKeys,
}: {
  editor: Editor;
  state: EditorState;
  shapes: readonly string[];
  keys: Changes;
  onKeys: () => void;
}) {
  const said = (id: ActionId): string => spoken(keyOf(id, keys));
  return (
    <div className="tool-rail" role="toolbar" aria-label="Tools" aria-orientation="vertical">
      {(Object.keys(SIGNS) as Tool[])
        .filter(
          (tool) =>
            isAllowed(tool, shapes) && (!state.readOnly || tool === "select" || tool === "pan"),
        )
        .map((tool) => {
          const { icon, label, action } = SIGNS[tool];
          return (
            <IconButton
              key={tool}
              icon={icon}
              label={label}
              keys={said(action)}
              pressed={state.tool === tool}
              onClick={() => editor.set({ tool })}
            />
          );
        })}
      <hr />
      <IconButton
        icon={Undo2}
        label="Undo"
        keys={said("undo")}
        disabled={!canUndo(state.history)}
        onClick={() => editor.undo()}
      />
      <IconButton
        icon={Redo2}
        label="Redo"
        keys={said("redo")}
        disabled={!canRedo(state.history)}
        onClick={() => editor.redo()}
      />
      <hr />
      <IconButton icon={Maximize} label="Fit" keys={said("fit")} onClick={() => editor.fit()} />
      <IconButton icon={Keyboard} label="Keys" keys={said("keys")} onClick={onKeys} />
    </div>
  );
}
