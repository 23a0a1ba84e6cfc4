// Dead letters: what nobody could handle, why, and having it handled again.

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { MailCheck, RotateCcw, Trash2 } from "lucide-react";
import { useState } from "react";
import { get, type Schemas, send } from "../api/client";
import { useMay } from "../app/session";
import { tell } from "../app/toasts";
import { Actions, ActionsHead } from "../ui/actions";
import { Button } from "../ui/controls";
import { Facts, Tree } from "../ui/data";
import { Confirm, Dialog } from "../ui/dialog";
import { ago, words } from "../ui/format";
import { Empty, Failure, Loading } from "../ui/states";

type Letter = Schemas["DeadLetterOut"];

export function Dead() {
  const queries = useQueryClient();
  const mayOperate = useMay("operate");
  const letters = useQuery({
    queryKey: ["dead"],
    queryFn: () => get<Schemas["DeadLettersOut"]>("/api/dead"),
    refetchInterval: 10_000,
  });
  const [open, setOpen] = useState<Letter | null>(null);
  const [discarding, setDiscarding] = useState<Letter | null>(null);
  const refresh = (): void => {
    void queries.invalidateQueries({ queryKey: ["dead"] });
    void queries.invalidateQueries({ queryKey: ["queues"] });
  };
  const retry = useMutation({
    mutationFn: (letter: Letter) => send("POST", `/api/dead/${letter.sequence}/retry`),
    onSuccess: (_, letter) => {
      tell(`${words(letter.event)} is handled again`);
      refresh();
    },
    onError: (error) => tell(error.message, "bad"),
  });
  const discard = useMutation({
    mutationFn: (letter: Letter) => send("DELETE", `/api/dead/${letter.sequence}`),
    onSuccess: () => {
      setDiscarding(null);
      refresh();
    },
  });
  if (letters.isError)
    return (
      <Failure
        what="The dead letters cannot be shown"
        error={letters.error}
        retry={() => void letters.refetch()}
      />
    );
  if (!letters.data) return <Loading what="Reading the dead letters…" />;
  const all = letters.data.letters;
  if (!all.length) {
    return (
      <Empty icon={MailCheck} title="No dead letters">
        A message that cannot be handled ends here with the reason, and can be handled again once
        that is mended.
      </Empty>
    );
  }
  const retriable = all.filter(({ can_retry }) => can_retry);
  return (
    <div className="page-body stack" style={{ gap: 12 }}>
      {mayOperate && retriable.length > 1 && (
        <div>
          <Button
            icon={RotateCcw}
            disabled={retry.isPending}
            onClick={() => {
              for (const letter of retriable) retry.mutate(letter);
            }}
          >
            Retry all {retriable.length}
          </Button>
        </div>
      )}
      <div className="panel">
        <table className="table">
          <thead>
            <tr>
              <th>When</th>
              <th>Service</th>
              <th>Message</th>
              <th>Reason</th>
              <th className="right">Attempts</th>
              <ActionsHead />
            </tr>
          </thead>
          <tbody>
            {all.map((letter) => (
              <tr key={letter.sequence}>
                <td className="muted">{ago(letter.at)}</td>
                <td>{letter.service}</td>
                <td>{words(letter.event)}</td>
                <td className="reason">{letter.reason}</td>
                <td className="right">{letter.attempts}</td>
                <td>
                  {mayOperate && (
                    <Actions>
                      <Button size="s" onClick={() => setOpen(letter)}>
                        Open
                      </Button>
                      {letter.can_retry && (
                        <Button
                          size="s"
                          icon={RotateCcw}
                          disabled={retry.isPending}
                          onClick={() => retry.mutate(letter)}
                        >
                          Retry
                        </Button>
                      )}
                      <Button
                        size="s"
                        tone="danger"
                        icon={Trash2}
                        aria-label="Discard"
                        onClick={() => setDiscarding(letter)}
                      />
                    </Actions>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {open && <Open letter={open} onClose={() => setOpen(null)} />}
      {discarding && (
        <Confirm
          title="Discard this message?"
          yes="Discard"
          tone="danger"
          busy={discard.isPending}
          error={discard.error}
          onYes={() => discard.mutate(discarding)}
          onClose={() => setDiscarding(null)}
        >
          <p>It is gone for good, and what it asked for will not be done.</p>
        </Confirm>
      )}
    </div>
  );
}

function Open({ letter, onClose }: { letter: Letter; onClose: () => void }) {
  const detail = useQuery({
    queryKey: ["dead", letter.sequence],
    queryFn: () => get<Schemas["DeadLetterDetailOut"]>(`/api/dead/${letter.sequence}`),
  });
  return (
    <Dialog wide title={`${words(letter.event)} for ${letter.service}`} onClose={onClose}>
      <p className="refusal">{letter.reason}</p>
      <Facts
        rows={[
          ["Subject", <code key="subject">{letter.subject}</code>],
          ["Stream", letter.stream],
          ["Attempts", String(letter.attempts)],
        ]}
      />
      {detail.isPending && <Loading what="Reading the message…" />}
      {detail.data && (
        <>
          <h3>Body</h3>
          <Tree value={detail.data.body} />
          <h3>Headers</h3>
          <Tree value={detail.data.headers} />
        </>
      )}
    </Dialog>
  );
}
