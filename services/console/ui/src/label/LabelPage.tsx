// The labeling page: one image after the other, by keyboard first.

import "../styles/label.css";
import { useQuery } from "@tanstack/react-query";
import { CloudOff, CloudUpload, MessageSquareWarning, SquareCheckBig } from "lucide-react";
import {
  type CSSProperties,
  useCallback,
  useEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
import { Link, useParams, useSearchParams } from "react-router";
import { useMay } from "../app/session";
import { tell } from "../app/toasts";
import { Button, Progress, Segmented } from "../ui/controls";
import { number, percent, plural } from "../ui/format";
import { Empty, Failure, Loading } from "../ui/states";
import { type Job, type Purpose, readJob } from "./api";
import { bindings } from "./bindings";
import { Canvas } from "./Canvas";
import { colours } from "./colours";
import { Editor } from "./editor";
import type { Gestures } from "./gestures";
import { KeysDialog } from "./KeysDialog";
import { type Changes, CLASS_KEYS, chord, keymap } from "./keymap";
import { surest } from "./model";
import { Classes, Cutters, LightAndBrush, Predictions, Shapes, Tags } from "./Panels";
import { Reject, SubmitBar } from "./Submit";
import { ToolRail } from "./Tools";
import { Work } from "./work";

const KEYS_KEY = "loopline.keys";
const DRAWN_KEPT = 500;

export default function LabelPage() {
  const { job: name = "" } = useParams();
  const job = useQuery({ queryKey: ["jobs", name], queryFn: () => readJob(name) });
  if (job.isPending) return <Loading what="Opening the job…" />;
  if (!job.data) {
    return (
      <Failure
        what={`The job ${name} cannot be opened`}
        error={job.error}
        retry={() => void job.refetch()}
      />
    );
  }
  return <Labeling job={job.data} />;
}

function readKeys(): Changes {
  try {
    return JSON.parse(localStorage.getItem(KEYS_KEY) ?? "{}") as Changes;
  } catch {
    return {};
  }
}

/** Work begins when the page opens and ends when it is left, whatever the job's figures do meanwhile. */
function useWork(job: Job, purpose: Purpose, editor: Editor): Work | null {
  const [work, setWork] = useState<Work | null>(null);
  const first = useRef(job);
  if (first.current.job !== job.job) first.current = job;
  const { job: name } = job;
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new count of the same job is no new work
  useEffect(() => {
    const begun = new Work(first.current, purpose, editor);
    begun.onTrouble = (text) => tell(text, "bad");
    setWork(begun);
    return () => begun.stop();
  }, [name, purpose, editor]);
  return work;
}

function Labeling({ job }: { job: Job }) {
  const [editor] = useState(() => new Editor());
  const [address, setAddress] = useSearchParams();
  const mayReview = useMay("review");
  const purpose: Purpose = address.get("for") === "review" && mayReview ? "review" : "label";
  const work = useWork(job, purpose, editor);
  if (!work) return <Loading what="Opening the job…" />;
  return (
    <Desk
      key={purpose}
      job={job}
      work={work}
      editor={editor}
      purpose={purpose}
      onPurpose={
        mayReview && (job.review || purpose === "review")
          ? (next) => setAddress(next === "review" ? { for: "review" } : {}, { replace: true })
          : null
      }
    />
  );
}

type DeskProps = {
  job: Job;
  work: Work;
  editor: Editor;
  purpose: Purpose;
  onPurpose: ((purpose: Purpose) => void) | null;
};

function Desk({ job, work, editor, purpose, onPurpose }: DeskProps) {
  const state = useSyncExternalStore(editor.subscribe, editor.getState);
  const feed = useSyncExternalStore(work.feed.subscribe, work.feed.getState);
  const own = useSyncExternalStore(work.subscribe, work.getState);
  const [keys, setKeys] = useState(readKeys);
  const [showsKeys, setShowsKeys] = useState(false);
  const [rejecting, setRejecting] = useState(false);
  const gestures = useRef<Gestures | null>(null);
  const colourOf = useMemo(() => colours(job.classes), [job.classes]);
  const item = work.feed.current;
  const ofImage = isOfImage(job, [...(item?.predicted ?? []), ...(item?.existing ?? [])]);

  const choose = useCallback(
    (className: string) => editor.choose(className, ofImage),
    [editor, ofImage],
  );
  const acts = useMemo(
    () =>
      bindings(editor, work, gestures, {
        showKeys: () => setShowsKeys(true),
        reject: () => purpose === "review" && setRejecting(true),
      }),
    [editor, work, purpose],
  );
  useEffect(() => {
    const map = keymap(keys);
    const onKey = (event: KeyboardEvent): void => {
      const target = event.target as HTMLElement;
      // A dialogue that was closed keeps the focus until the next frame, but not the keys.
      if (target.closest("input:not([type=range]), textarea, select, dialog[open]")) return;
      const pressed = chord(event);
      const digit = CLASS_KEYS.indexOf(pressed);
      if (digit >= 0) {
        const className = job.classes[digit];
        if (className) choose(className);
        event.preventDefault();
        return;
      }
      const id = map.get(pressed);
      // Enter and Tab on a button are the button's.
      const isButton = target.closest("button, a, [type=range]");
      if (
        !id ||
        (isButton &&
          ["Enter", "Tab", "Shift+Tab", " ", "ArrowLeft", "ArrowRight"].includes(pressed))
      )
        return;
      if (acts[id]() !== false) event.preventDefault();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [keys, acts, choose, job.classes]);

  const onDrawn = useCallback((asset: string) => {
    if (performance.getEntriesByName("loopline:submit").length) {
      performance.measure("loopline:submit-to-drawn", { start: "loopline:submit", detail: asset });
      performance.clearMarks("loopline:submit");
      if (performance.getEntriesByName("loopline:submit-to-drawn").length > DRAWN_KEPT) {
        performance.clearMeasures("loopline:submit-to-drawn");
      }
    }
  }, []);
  const changeKeys = (changes: Changes): void => {
    localStorage.setItem(KEYS_KEY, JSON.stringify(changes));
    setKeys(changes);
  };

  return (
    <>
      <Head job={job} work={work} purpose={purpose} onPurpose={onPurpose} />
      <div className="labeling">
        <ToolRail
          editor={editor}
          state={state}
          shapes={job.shapes}
          keys={keys}
          onKeys={() => setShowsKeys(true)}
        />
        <div className="label-middle">
          <Canvas
            editor={editor}
            colourOf={colourOf}
            gestures={gestures}
            onSmart={(box) => void work.smart(box)}
            onDrawn={onDrawn}
          />
          {item && (
            <div className="label-over top">
              {item.comment && (
                <div className="comment-note" role="note">
                  <MessageSquareWarning size={16} className="warn-text" aria-hidden />
                  <span>
                    <strong>{item.reviewer || "The reviewer"}:</strong> {item.comment}
                  </span>
                </div>
              )}
              {ofImage && <ImageLabel editor={editor} colourOf={colourOf} />}
            </div>
          )}
          {state.item && (
            <div className="label-over bottom">
              <span>
                {state.item.width} × {state.item.height}
              </span>
              <span>{percent(state.view.scale, 0)}</span>
              {own.isThinking && <span role="status">Looking…</span>}
            </div>
          )}
          {!item && <NoItem job={job} feed={feed} purpose={purpose} work={work} />}
          {own.imageError && (
            <Failure
              what="This image cannot be shown"
              error={own.imageError}
              retry={() => work.feed.next()}
            />
          )}
        </div>
        <aside className="label-side" aria-label="Labels">
          <div className="label-side-body">
            <Classes
              classes={job.classes}
              colourOf={colourOf}
              current={currentClass(editor, ofImage)}
              onChoose={choose}
            />
            {state.tool === "smart" && <Cutters work={work} />}
            {(item?.predicted?.length ?? 0) > 0 && <Predictions editor={editor} state={state} />}
            {state.item && <Shapes editor={editor} state={state} colourOf={colourOf} />}
            {state.item && <Tags editor={editor} state={state} known={[]} />}
            <LightAndBrush editor={editor} state={state} />
            {job.instructions && (
              <section aria-label="Instructions">
                <h3>Instructions</h3>
                <p className="instructions">{job.instructions}</p>
              </section>
            )}
          </div>
          {item && (
            <SubmitBar
              work={work}
              editor={editor}
              purpose={purpose}
              keys={keys}
              onReject={() => setRejecting(true)}
            />
          )}
        </aside>
      </div>
      {showsKeys && (
        <KeysDialog changes={keys} onChange={changeKeys} onClose={() => setShowsKeys(false)} />
      )}
      {rejecting && (
        <Reject
          onClose={() => setRejecting(false)}
          onReject={(comment) => {
            setRejecting(false);
            work.reject(comment);
          }}
        />
      )}
    </>
  );
}

/** Whether the digits say what the image is, rather than what is drawn next. */
function isOfImage(
  job: Job,
  shown: readonly { bbox_xyxy?: unknown; polygon?: unknown; mask_rle?: unknown }[],
): boolean {
  if (job.shapes.length) return job.shapes.includes("whole_image");
  return shown.some((shape) => !shape.bbox_xyxy && !shape.polygon && !shape.mask_rle);
}

function currentClass(editor: Editor, ofImage: boolean): string {
  const { doc, state } = editor;
  if (!ofImage) return editor.selectedShape?.className ?? state.className;
  const own = doc.shapes.find(({ geometry }) => geometry.kind === "image");
  return own?.className ?? "";
}

function ImageLabel({ editor, colourOf }: { editor: Editor; colourOf: (name: string) => string }) {
  const own = editor.doc.shapes.find(({ geometry }) => geometry.kind === "image");
  const said = surest(editor.predictions.filter(({ geometry }) => geometry.kind === "image"));
  const shown = own ?? said;
  if (!shown) return <div className="image-label undecided">No class yet</div>;
  return (
    <div
      className={own ? "image-label" : "image-label undecided"}
      style={{ "--class-colour": colourOf(shown.className) } as CSSProperties}
    >
      {shown.className}
      {own?.kept && <span>as the dataset has it</span>}
      {!own && shown.confidence !== null && <span>model, {percent(shown.confidence, 0)} sure</span>}
    </div>
  );
}

function Head({ job, work, purpose, onPurpose }: Omit<DeskProps, "editor">) {
  const own = useSyncExternalStore(work.subscribe, work.getState);
  const finished = Math.min(job.items, job.counts.done);
  return (
    <header className="page-head">
      <nav className="crumbs" aria-label="Where you are">
        <Link to="/label">Label</Link>
        <span className="sep">/</span>
        <h1>{job.job}</h1>
      </nav>
      {onPurpose && (
        <Segmented
          label="What for"
          value={purpose}
          options={[
            { value: "label", label: "Label" },
            { value: "review", label: "Review" },
          ]}
          onChange={onPurpose}
        />
      )}
      <span className="grow" />
      <SaveState work={work} />
      <div className="job-progress">
        <Progress value={finished / Math.max(1, job.items)} label={`Progress of ${job.job}`} />
      </div>
      <span className="faint num">
        {number(finished)} of {number(job.items)}
        {own.doneHere > 0 && ` · ${number(own.doneHere)} by you now`}
      </span>
    </header>
  );
}

function SaveState({ work }: { work: Work }) {
  const { waiting, refused, trouble } = useSyncExternalStore(
    work.outbox.subscribe,
    work.outbox.getState,
  );
  if (refused.length) {
    return (
      <span
        className="save-state bad-text"
        role="status"
        title={refused.map(({ reason }) => reason).join("\n")}
      >
        <CloudOff size={15} aria-hidden /> {plural(refused.length, "item")} not accepted
      </span>
    );
  }
  if (trouble) {
    return (
      <span className="save-state warn-text" role="status" title={trouble}>
        <CloudUpload size={15} aria-hidden /> {plural(waiting.length, "item")} kept here until the
        server answers
      </span>
    );
  }
  return (
    <span className="save-state" role="status">
      <SquareCheckBig size={15} aria-hidden /> {waiting.length ? "Saving…" : "Saved"}
    </span>
  );
}

function NoItem({
  job,
  feed,
  purpose,
  work,
}: {
  job: Job;
  feed: ReturnType<Work["feed"]["getState"]>;
  purpose: Purpose;
  work: Work;
}) {
  const again = (): void => work.feed.fill(true);
  if (feed.error) return <Failure what="No item could be taken" error={feed.error} retry={again} />;
  if (feed.isAsking || !feed.isDry) return <Loading what="Taking the next item…" />;
  const isOver = job.state === "completed" || job.state === "stopped";
  return (
    <Empty
      icon={SquareCheckBig}
      title={isOver ? "This job is over" : "Nothing is left for you here"}
      action={
        <div className="row">
          {!isOver && <Button onClick={again}>Look again</Button>}
          <Link className="button" to="/label">
            All jobs
          </Link>
        </div>
      }
    >
      {isOver
        ? "Its labels are in the dataset's next version. Reopen it to change them."
        : purpose === "review"
          ? "Every item that waits for a review is looked at. New ones come as labelers submit."
          : "The other items are done or held by somebody else. What is sent back, or let go, comes up here."}
    </Empty>
  );
}
