// Queues of work: how deep, how old, and whether anybody takes from them.

import { Inbox } from "lucide-react";
import type { Schemas } from "../api/client";
import { Chip } from "../ui/controls";
import { duration, number, words } from "../ui/format";
import { Empty, Failure, Loading } from "../ui/states";

const OLD_S = 300;

export function Queues({
  answer,
  error,
}: {
  answer: Schemas["QueuesOut"] | undefined;
  error: unknown;
}) {
  if (!answer)
    return error ? (
      <Failure what="The queues cannot be shown" error={error} />
    ) : (
      <Loading what="Asking the bus…" />
    );
  if (!answer.queues.length)
    return (
      <Empty icon={Inbox} title="There are no queues">
        The platform has not set its streams up yet.
      </Empty>
    );
  const deepest = Math.max(
    1,
    ...answer.queues.map(({ waiting, in_flight }) => waiting + in_flight),
  );
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and holds nothing else to focus
    <section className="page-body" aria-label="Queues" tabIndex={0}>
      <div className="panel">
        <table className="table">
          <thead>
            <tr>
              <th>Queue</th>
              <th>Service</th>
              <th style={{ width: "28%" }}>Depth</th>
              <th className="right">Waiting</th>
              <th className="right">In flight</th>
              <th className="right">Redelivered</th>
              <th className="right">Oldest</th>
              <th>Workers</th>
            </tr>
          </thead>
          <tbody>
            {answer.queues.map((queue) => {
              const depth = queue.waiting + queue.in_flight;
              return (
                <tr key={queue.name}>
                  <td>
                    {words(queue.event)}{" "}
                    {queue.pool && queue.pool !== "default" && <Chip>{queue.pool}</Chip>}
                  </td>
                  <td className="muted">{queue.service}</td>
                  <td>
                    <div
                      className="depth"
                      role="img"
                      aria-label={`${queue.waiting} waiting, ${queue.in_flight} in flight`}
                    >
                      <i
                        style={{ width: `${(100 * queue.in_flight) / deepest}%` }}
                        className="flight"
                      />
                      <i style={{ width: `${(100 * queue.waiting) / deepest}%` }} />
                    </div>
                  </td>
                  <td className="right">
                    {queue.waiting ? number(queue.waiting) : <span className="faint">0</span>}
                  </td>
                  <td className="right">
                    {queue.in_flight ? number(queue.in_flight) : <span className="faint">0</span>}
                  </td>
                  <td className="right">
                    {queue.redelivered ? (
                      <span className="warn-text">{number(queue.redelivered)}</span>
                    ) : (
                      <span className="faint">0</span>
                    )}
                  </td>
                  <td className="right">
                    {queue.oldest_age_s !== null && (
                      <span className={queue.oldest_age_s > OLD_S ? "warn-text" : ""}>
                        {duration(queue.oldest_age_s)}
                      </span>
                    )}
                  </td>
                  <td>
                    {depth > 0 && queue.workers_waiting === 0 && queue.in_flight === 0 ? (
                      <Chip tone="bad">nobody takes</Chip>
                    ) : (
                      <span className="muted">
                        {queue.workers_waiting
                          ? `${queue.workers_waiting} waiting`
                          : queue.in_flight
                            ? "all busy"
                            : ""}
                      </span>
                    )}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </section>
  );
}
