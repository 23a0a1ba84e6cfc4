// Every labeling job: what waits, who works, how far it is.

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { History as HistoryIcon, Plus, SlidersHorizontal, SquarePen } from "lucide-react";
import { useState } from "react";
import { Link } from "react-router";
import { send } from "../api/client";
import { useMay, useSession } from "../app/session";
import { tell } from "../app/toasts";
import { Actions, ActionsHead } from "../ui/actions";
import { Button, Chip, IconButton, Progress, Segmented } from "../ui/controls";
import { Confirm, Dialog } from "../ui/dialog";
import { ago, moment, number, plural } from "../ui/format";
import { Empty, Failure, Loading } from "../ui/states";
import { State } from "../workflow/Card";
import { type Job, jobPath, readHistory, readJobs } from "./api";
import { ChangeJob } from "./ChangeJob";
import { NewJob } from "./NewJob";

const OVER = ["completed", "stopped"];
const CLASSES_SHOWN = 3;

export default function JobsPage() {
  const jobs = useQuery({ queryKey: ["jobs"], queryFn: readJobs, refetchInterval: 10_000 });
  const [which, setWhich] = useState<"open" | "over">("open");
  const mayOperate = useMay("operate");
  const [isOpening, setOpening] = useState(false);
  const all = jobs.data ?? [];
  const open = all.filter(({ state }) => !OVER.includes(state));
  const over = all.filter(({ state }) => OVER.includes(state));
  const shown = which === "open" ? open.toSorted((a, b) => b.priority - a.priority) : over;
  return (
    <>
      <header className="page-head">
        <h1>Label</h1>
        <span className="grow" />
        <Segmented
          label="Which jobs"
          value={which}
          options={[
            { value: "open", label: `Open ${open.length}` },
            { value: "over", label: `Over ${over.length}` },
          ]}
          onChange={setWhich}
        />
        {mayOperate && (
          <Button tone="primary" icon={Plus} onClick={() => setOpening(true)}>
            New job
          </Button>
        )}
      </header>
      {isOpening && <NewJob onClose={() => setOpening(false)} />}
      <div className="page-body">
        {jobs.isPending && <Loading what="Reading the jobs…" />}
        {jobs.isError && (
          <Failure
            what="The labeling jobs cannot be shown"
            error={jobs.error}
            retry={() => void jobs.refetch()}
          />
        )}
        {jobs.isSuccess && shown.length === 0 && (
          <Empty
            icon={SquarePen}
            title={which === "open" ? "Nothing waits to be labeled" : "No job is over yet"}
            action={
              which === "open" &&
              mayOperate && (
                <Button icon={Plus} onClick={() => setOpening(true)}>
                  New job
                </Button>
              )
            }
          >
            {which === "open"
              ? "A flow opens a job for what a model is unsure of; an operator opens one over any images of a dataset."
              : "Jobs that are completed or stopped are kept here."}
          </Empty>
        )}
        {shown.length > 0 && (
          <div className="panel">
            <table className="table">
              <thead>
                <tr>
                  <th>Job</th>
                  <th>State</th>
                  <th>Dataset</th>
                  <th style={{ width: "16%" }}>Progress</th>
                  <th>Classes</th>
                  <th>Changed</th>
                  <ActionsHead />
                </tr>
              </thead>
              <tbody>
                {shown.map((job) => (
                  <Row key={job.job} job={job} />
                ))}
              </tbody>
            </table>
          </div>
        )}
      </div>
    </>
  );
}

function Row({ job }: { job: Job }) {
  const { name } = useSession();
  const isMine = job.labelers.length === 0 || job.labelers.includes(name);
  const mayReview =
    useMay("review") && (job.reviewers.length === 0 || job.reviewers.includes(name));
  const finished = job.counts.done;
  const isOver = OVER.includes(job.state);
  const toReview = job.counts.submitted + job.counts.disputed;
  return (
    <tr>
      <td>
        <Link to={`/label/${job.job}`}>
          <strong>{job.job}</strong>
        </Link>
        <div className="row" style={{ gap: 6 }}>
          {job.priority !== 0 && (
            <Chip tone={job.priority > 0 ? "warn" : "neutral"}>priority {job.priority}</Chip>
          )}
          {job.deadline && (
            <span className={isLate(job) ? "bad-text nowrap" : "faint nowrap"}>
              {isLate(job) ? "was due" : "due"} {toTheMinute(job.deadline)}
            </span>
          )}
        </div>
      </td>
      <td>
        <State state={job.state} />
      </td>
      <td>
        <Link className="nowrap" to={`/datasets/${job.dataset.name}/${job.dataset.version}`}>
          {job.dataset.name} v{job.dataset.version}
        </Link>
      </td>
      <td>
        <Progress value={finished / Math.max(1, job.items)} label={`Progress of ${job.job}`} />
        <span className="faint num">
          {number(finished)} of {number(job.items)} labeled
        </span>
      </td>
      <td className="muted">
        {job.classes.slice(0, CLASSES_SHOWN).join(", ")}
        {job.classes.length > CLASSES_SHOWN && ` and ${job.classes.length - CLASSES_SHOWN} more`}
      </td>
      <td className="when" title={moment(job.changed_at)}>
        {ago(job.changed_at)}
      </td>
      <td>
        <Actions>
          {!isOver && isMine && (
            <Link className="button s primary" to={`/label/${job.job}`}>
              Label
            </Link>
          )}
          {!isOver && mayReview && job.review && (
            <Link className="button s" to={`/label/${job.job}?for=review`}>
              {toReview ? `Review ${number(toReview)}` : "Review"}
            </Link>
          )}
          <History job={job} />
          <Manage job={job} />
        </Actions>
      </td>
    </tr>
  );
}

const toTheMinute = (at: string): string =>
  new Date(at).toLocaleString("en", {
    month: "short",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    hour12: false,
  });

const isLate = (job: Job): boolean =>
  job.deadline !== null && !OVER.includes(job.state) && new Date(job.deadline) < new Date();

/** What became of a job, and who did it: a job that was reopened says so here. */
function History({ job }: { job: Job }) {
  const [isOpen, setOpen] = useState(false);
  const history = useQuery({
    queryKey: ["jobs", job.job, "history"],
    queryFn: () => readHistory(job.job),
    enabled: isOpen,
  });
  return (
    <>
      <IconButton
        size="s"
        icon={HistoryIcon}
        label={`History of ${job.job}`}
        onClick={() => setOpen(true)}
      />
      {isOpen && (
        <Dialog title={`History of ${job.job}`} onClose={() => setOpen(false)} wide>
          {history.isPending && <Loading what="Reading the history…" />}
          {history.isError && <Failure what="It cannot be read" error={history.error} />}
          {history.data && (
            <table className="table">
              <tbody>
                {history.data.toReversed().map((event) => (
                  <tr key={event.version}>
                    <td className="when">{moment(event.at)}</td>
                    <td>
                      {event.reopened ? (
                        <Chip tone="warn">reopened</Chip>
                      ) : (
                        <State state={event.state} />
                      )}
                    </td>
                    <td>{event.summary}</td>
                    <td className="faint">{event.by}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
        </Dialog>
      )}
    </>
  );
}

function Manage({ job }: { job: Job }) {
  const queries = useQueryClient();
  const mayOperate = useMay("operate");
  const [asking, setAsking] = useState(false);
  const [isChanging, setChanging] = useState(false);
  const isOver = OVER.includes(job.state);
  const act = useMutation({
    mutationFn: () => send("POST", jobPath(job.job, isOver ? "/reopen" : "/stop"), {}),
    onSuccess: () => {
      tell(isOver ? `${job.job} is open again` : `${job.job} is stopped`);
      setAsking(false);
      void queries.invalidateQueries({ queryKey: ["jobs"] });
    },
  });
  if (!mayOperate) return null;
  return (
    <>
      {!isOver && (
        <IconButton
          size="s"
          icon={SlidersHorizontal}
          label={`Change ${job.job}`}
          onClick={() => setChanging(true)}
        />
      )}
      {isChanging && <ChangeJob job={job} onClose={() => setChanging(false)} />}
      <Button size="s" onClick={() => setAsking(true)}>
        {isOver ? "Reopen" : "Stop"}
      </Button>
      {asking && (
        <Confirm
          title={isOver ? `Reopen ${job.job}?` : `Stop ${job.job}?`}
          yes={isOver ? "Reopen" : "Stop the job"}
          tone={isOver ? "primary" : "danger"}
          busy={act.isPending}
          error={act.error}
          onYes={() => act.mutate()}
          onClose={() => setAsking(false)}
        >
          <p>
            {isOver
              ? "Its items go back to the queue with the labels they have. That it was reopened, and by whom, is recorded."
              : `The ${plural(job.submitted, "image")} labeled so far go into the dataset's next version. The others stay as they are.`}
          </p>
        </Confirm>
      )}
    </>
  );
}
