// What ends the work on an image: submitting, accepting, skipping, sending back.

import { useState } from "react";
import { Button, Key } from "../ui/controls";
import { Dialog } from "../ui/dialog";
import { plural } from "../ui/format";
import type { Purpose } from "./api";
import type { Editor } from "./editor";
import { type Changes, keyOf, spoken } from "./keymap";
import type { Work } from "./work";

export function SubmitBar({
  work,
  editor,
  purpose,
  keys,
  onReject,
}: {
  work: Work;
  editor: Editor;
  purpose: Purpose;
  keys: Changes;
  onReject: () => void;
}) {
  const count = work.answer.length;
  const open = count - editor.doc.shapes.length;
  const against = editor.predictions.length - open;
  return (
    <div className="label-submit">
      {open > 0 && (
        <p className="faint">
          {plural(open, "prediction")} shown: submitting accepts {open === 1 ? "it" : "them"}.
        </p>
      )}
      {against > 0 && (
        <p className="faint">
          {plural(against, "prediction")} against what the dataset has: accept{" "}
          {against === 1 ? "it" : "them"} by hand, or {against === 1 ? "it stays" : "they stay"}{" "}
          out.
        </p>
      )}
      <Button tone="primary" onClick={() => work.submit()}>
        <span>
          {purpose === "review" ? "Accept" : "Submit"}{" "}
          {count === 0 ? "as empty" : plural(count, "label")}
        </span>
        <Key>{spoken(keyOf("submit", keys))}</Key>
      </Button>
      <div className="row">
        {purpose === "review" ? (
          <Button tone="danger" onClick={onReject}>
            Reject <Key>{spoken(keyOf("reject", keys))}</Key>
          </Button>
        ) : (
          <Button onClick={() => work.skip()}>
            Skip <Key>{spoken(keyOf("skip", keys))}</Key>
          </Button>
        )}
        <Button onClick={() => work.back()} aria-label="Previous image">
          <Key>{spoken(keyOf("previous", keys))}</Key>
        </Button>
        <Button onClick={() => work.next()} aria-label="Next image">
          <Key>{spoken(keyOf("next", keys))}</Key>
        </Button>
      </div>
    </div>
  );
}

export function Reject({
  onReject,
  onClose,
}: {
  onReject: (comment: string) => void;
  onClose: () => void;
}) {
  const [comment, setComment] = useState("");
  const send = (): void => {
    if (comment.trim()) onReject(comment.trim());
  };
  return (
    <Dialog
      title="Send it back"
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button tone="danger" disabled={!comment.trim()} onClick={send}>
            Send back
          </Button>
        </>
      }
    >
      <label className="field">
        <span>What should the labeler do?</span>
        <textarea
          rows={3}
          maxLength={2_000}
          value={comment}
          onChange={(event) => setComment(event.target.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && !event.shiftKey) {
              event.preventDefault();
              send();
            }
          }}
        />
      </label>
    </Dialog>
  );
}
