// The image and what is drawn on it: two canvases, so that moving a corner does not draw the photo anew.

import { useEffect, useRef } from "react";
import { BrushLayer, drawBrush, drawCross, drawGesture, drawShape } from "./draw";
import type { Editor, EditorState } from "./editor";
import type { Box, Point } from "./geometry";
import { Gestures } from "./gestures";
import type { LabelShape } from "./model";
import { toImage } from "./viewport";

const WHEEL_ZOOM = 0.0016; // per unit of the wheel
const CRISP_FROM = 2; // times: larger pixels are shown as they are
const LABELS_MAX = 60; // names that are drawn at once; past that only of what one points at
const DOUBLE_MS = 320;
const DOUBLE_PX = 6;

type Props = {
  editor: Editor;
  colourOf: (className: string) => string;
  gestures: React.RefObject<Gestures | null>;
  onSmart: (box: Box) => void;
  onDrawn: (asset: string) => void;
};

export function Canvas({ editor, colourOf, gestures, onSmart, onDrawn }: Props) {
  const stage = useRef<HTMLDivElement>(null);
  const photo = useRef<HTMLCanvasElement>(null);
  const overlay = useRef<HTMLCanvasElement>(null);
  const said = useRef({ colourOf, onSmart, onDrawn });
  said.current = { colourOf, onSmart, onDrawn };

  useEffect(() => {
    const painter = new Painter(editor, stage.current!, photo.current!, overlay.current!, said);
    gestures.current = painter.gestures;
    return () => {
      gestures.current = null;
      painter.stop();
    };
  }, [editor, gestures]);

  return (
    <div
      ref={stage}
      className="label-stage"
      role="application"
      aria-label="Image to label. Press ? for the keys."
      // biome-ignore lint/a11y/noNoninteractiveTabindex: the canvas takes keys and pointers
      tabIndex={0}
    >
      <canvas ref={photo} />
      <canvas ref={overlay} />
    </div>
  );
}

type Said = React.RefObject<Pick<Props, "colourOf" | "onSmart" | "onDrawn">>;

class Painter {
  readonly gestures: Gestures;
  readonly #brush = new BrushLayer();
  readonly #listening = new AbortController();
  readonly #watcher: ResizeObserver;
  readonly #unsubscribe: () => void;
  #frame = 0;
  #drawn: Pick<EditorState, "item" | "view" | "stage" | "light"> | null = null;
  #pointer: Point | null = null;
  #spaceHeld = false;
  #lastPress = { at: 0, x: 0, y: 0 };
  readonly #editor: Editor;
  readonly #stage: HTMLElement;
  readonly #photo: HTMLCanvasElement;
  readonly #overlay: HTMLCanvasElement;
  readonly #said: Said;

  constructor(
    editor: Editor,
    stage: HTMLElement,
    photo: HTMLCanvasElement,
    overlay: HTMLCanvasElement,
    said: Said,
  ) {
    this.#editor = editor;
    this.#stage = stage;
    this.#photo = photo;
    this.#overlay = overlay;
    this.#said = said;
    this.gestures = new Gestures(editor, (box) => said.current.onSmart(box), this.#soon);
    this.#unsubscribe = editor.subscribe(this.#soon);
    this.#watcher = new ResizeObserver(() => {
      editor.resize({ width: stage.clientWidth, height: stage.clientHeight });
    });
    this.#watcher.observe(stage);
    editor.resize({ width: stage.clientWidth, height: stage.clientHeight });
    this.#listen();
  }

  stop(): void {
    cancelAnimationFrame(this.#frame);
    this.#listening.abort();
    this.#watcher.disconnect();
    this.#unsubscribe();
  }

  #soon = (): void => {
    if (!this.#frame) this.#frame = requestAnimationFrame(this.#draw);
  };

  // Drawing ----------------------------------------------------------------------------------------

  #draw = (): void => {
    this.#frame = 0;
    const { state } = this.#editor;
    const same = this.#drawn;
    const isNew = same?.item !== state.item;
    if (
      isNew ||
      same?.view !== state.view ||
      same?.stage !== state.stage ||
      same?.light !== state.light
    ) {
      this.#drawPhoto(state);
    }
    this.#drawn = state;
    this.#cursor();
    this.#drawOverlay(state);
    if (isNew && state.item?.image) {
      this.#stage.dataset.asset = state.item.asset;
      this.#said.current.onDrawn(state.item.asset);
    }
  };

  #context(canvas: HTMLCanvasElement, { stage }: EditorState): CanvasRenderingContext2D {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(stage.width * ratio), Math.round(stage.height * ratio)];
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const context = canvas.getContext("2d")!;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, stage.width, stage.height);
    return context;
  }

  #drawPhoto(state: EditorState): void {
    const context = this.#context(this.#photo, state);
    const { brightness, contrast } = state.light;
    this.#photo.style.filter =
      brightness === 1 && contrast === 1 ? "" : `brightness(${brightness}) contrast(${contrast})`;
    const { item, view } = state;
    if (!item?.image) return;
    context.imageSmoothingEnabled = view.scale < CRISP_FROM;
    context.imageSmoothingQuality = "high";
    context.drawImage(
      item.image,
      view.x,
      view.y,
      item.width * view.scale,
      item.height * view.scale,
    );
  }

  #drawOverlay(state: EditorState): void {
    const context = this.#context(this.#overlay, state);
    if (!state.item) return;
    const { colourOf } = this.#said.current;
    const gesture = this.gestures.current;
    const shapes = this.#editor.drawn;
    const undecided = new Set(this.#editor.doc.predictions);
    const crowded = shapes.length > LABELS_MAX;
    const last = shapes.filter(({ id }) => id === state.selected);
    for (const shape of [...shapes.filter(({ id }) => id !== state.selected), ...last]) {
      if (
        gesture &&
        "shape" in gesture &&
        gesture.shape?.id === shape.id &&
        gesture.kind === "brush"
      )
        continue;
      const selected = shape.id === state.selected;
      const hovered = shape.id === state.hovered;
      const geometry =
        gesture && "geometry" in gesture && gesture.shape.id === shape.id
          ? gesture.geometry
          : shape.geometry;
      drawShape(context, geometry, state.view, {
        colour: colourOf(shape.className),
        selected,
        hovered,
        undecided: undecided.has(shape),
        locked: state.locked.has(shape.id),
        label: !crowded || selected || hovered ? nameOf(shape) : "",
      });
    }
    this.#drawTool(context, state);
  }

  #drawTool(context: CanvasRenderingContext2D, state: EditorState): void {
    const gesture = this.gestures.current;
    const colour = this.#said.current.colourOf(
      gesture?.kind === "brush" && gesture.shape ? gesture.shape.className : state.className,
    );
    if (gesture?.kind === "brush") {
      const radius = state.brush / 2;
      this.#brush.draw(context, gesture.mask, gesture.touched, radius, colour, state.view);
    } else {
      this.#brush.forget();
    }
    if (gesture) drawGesture(context, gesture, state.view, colour);
    const { tool } = state;
    if (!this.#pointer || state.readOnly) return;
    if (tool === "box" && !gesture)
      drawCross(context, this.#pointer, state.stage.width, state.stage.height);
    if (tool === "brush" || tool === "eraser") {
      drawBrush(context, this.#pointer, (state.brush / 2) * state.view.scale, colour);
    }
  }

  // Pointers ---------------------------------------------------------------------------------------

  #listen(): void {
    const { signal } = this.#listening;
    const on = this.#stage.addEventListener.bind(this.#stage);
    on("pointerdown", this.#onDown, { signal });
    on("pointermove", this.#onMove, { signal });
    on("pointerup", this.#onUp, { signal });
    on("pointercancel", this.#onUp, { signal });
    on("pointerleave", this.#onLeave, { signal });
    on("wheel", this.#onWheel, { signal, passive: false });
    on("contextmenu", (event) => event.preventDefault(), { signal });
    const held = (event: KeyboardEvent): void => {
      if (
        event.key !== " " ||
        (event.target as HTMLElement).closest("input, textarea, button, dialog")
      )
        return;
      event.preventDefault();
      this.#spaceHeld = event.type === "keydown";
      this.#cursor();
    };
    window.addEventListener("keydown", held, { signal });
    window.addEventListener("keyup", held, { signal });
  }

  #place(event: PointerEvent | WheelEvent): { screen: Point; at: Point } {
    const { left, top } = this.#stage.getBoundingClientRect();
    const screen = { x: event.clientX - left, y: event.clientY - top };
    return { screen, at: toImage(this.#editor.state.view, screen) };
  }

  #onDown = (event: PointerEvent): void => {
    this.#stage.focus({ preventScroll: true });
    this.#stage.setPointerCapture(event.pointerId);
    const { screen, at } = this.#place(event);
    const pans = event.button === 1 || event.button === 2 || this.#spaceHeld;
    const since = event.timeStamp - this.#lastPress.at;
    const apart = Math.hypot(screen.x - this.#lastPress.x, screen.y - this.#lastPress.y);
    const double = since < DOUBLE_MS && apart < DOUBLE_PX;
    this.#lastPress = { at: event.timeStamp, ...screen };
    this.gestures.press({ at, screen, pans, double, alt: event.altKey });
    this.#cursor();
  };

  #onMove = (event: PointerEvent): void => {
    const { screen, at } = this.#place(event);
    this.#pointer = screen;
    this.gestures.move(at, screen);
    this.#soon();
  };

  #onUp = (event: PointerEvent): void => {
    const { screen, at } = this.#place(event);
    this.gestures.move(at, screen);
    this.gestures.release();
    this.#cursor();
  };

  #onLeave = (): void => {
    this.#pointer = null;
    this.#soon();
  };

  /** The wheel zooms where one points; two fingers on a trackpad pan, a pinch zooms. */
  #onWheel = (event: WheelEvent): void => {
    event.preventDefault();
    const isTrackpad = event.deltaMode === 0 && (event.deltaX !== 0 || Math.abs(event.deltaY) < 40);
    if (isTrackpad && !event.ctrlKey) {
      this.#editor.pan(-event.deltaX, -event.deltaY);
      return;
    }
    const speed = event.ctrlKey ? WHEEL_ZOOM * 6 : WHEEL_ZOOM;
    this.#editor.zoom(Math.exp(-event.deltaY * speed), this.#place(event).screen);
  };

  #cursor(): void {
    const { tool } = this.#editor.state;
    const panning = this.gestures.current?.kind === "pan";
    this.#stage.dataset.cursor = panning ? "grabbing" : this.#spaceHeld ? "pan" : tool;
  }
}

function nameOf({ className, confidence }: LabelShape): string {
  return confidence === null ? className : `${className} ${Math.round(100 * confidence)}%`;
}
