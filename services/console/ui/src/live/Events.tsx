// The tail of events, newest first, as they happen.

import { useQuery } from "@tanstack/react-query";
import { Activity, Pause, Play } from "lucide-react";
import { useCallback, useRef, useState } from "react";
import { Link } from "react-router";
import { get, type Schemas } from "../api/client";
import { type Happening, useHappenings, useIsLive } from "../api/live";
import { Button, Chip, Select } from "../ui/controls";
import { words } from "../ui/format";
import { Empty, Failure, Loading } from "../ui/states";

const KEPT_MAX = 500;
const NOISY = ["agent_reported", "chunk_completed"];

export function Events() {
  const recent = useQuery({
    queryKey: ["events"],
    queryFn: () => get<Schemas["EventsOut"]>("/api/events/recent", { limit: 500 }),
    staleTime: Number.POSITIVE_INFINITY,
  });
  const [fresh, setFresh] = useState<readonly Happening[]>([]);
  const [type, setType] = useState("");
  const [paused, setPaused] = useState(false);
  const held = useRef(paused);
  held.current = paused;
  const isLive = useIsLive();
  useHappenings(
    useCallback((event: Happening) => {
      if (!held.current) setFresh((known) => [event, ...known].slice(0, KEPT_MAX));
    }, []),
  );
  if (recent.isError) return <Failure what="The events cannot be shown" error={recent.error} />;
  if (!recent.data) return <Loading what="Reading the events…" />;
  const seen = new Set<string>();
  const all = [...fresh, ...recent.data.events.toReversed()].filter(
    ({ id }) => !seen.has(id) && seen.add(id),
  );
  const types = [...new Set(all.map((event) => event.type))].sort();
  const shown = all.filter((event) => (type ? event.type === type : !NOISY.includes(event.type)));
  return (
    <div className="page-body stack" style={{ gap: 12 }}>
      <div className="row">
        <Select
          bare
          label="Type"
          value={type}
          options={[
            { value: "", label: "All but the noisy" },
            ...types.map((one) => ({ value: one, label: words(one) })),
          ]}
          onChange={setType}
        />
        <Button icon={paused ? Play : Pause} onClick={() => setPaused(!paused)}>
          {paused ? "Follow" : "Pause"}
        </Button>
        <span className="faint">{paused ? "paused" : isLive ? "live" : "reconnecting…"}</span>
      </div>
      {shown.length === 0 ? (
        <Empty icon={Activity} title="Nothing happened yet">
          What happens on the platform appears here at once.
        </Empty>
      ) : (
        <div className="panel">
          <table className="table events">
            <colgroup>
              <col className="at" />
              <col className="type" />
              <col className="name" />
              <col />
              <col className="by" />
            </colgroup>
            <thead>
              <tr>
                <th>When</th>
                <th>Event</th>
                <th>Of</th>
                <th>What it says</th>
                <th>By</th>
              </tr>
            </thead>
            <tbody>
              {shown.map((event) => (
                <tr key={event.id}>
                  <td className="faint num">
                    {new Date(event.at).toLocaleTimeString("en", { hour12: false })}
                  </td>
                  <td>
                    <Chip tone={toneOf(event)}>{words(event.type)}</Chip>
                  </td>
                  <td title={event.name}>
                    {event.node ? (
                      <Link to={`/workflow?node=${encodeURIComponent(event.node)}`}>
                        {event.name}
                      </Link>
                    ) : (
                      event.name
                    )}
                  </td>
                  <td className="muted">{event.summary}</td>
                  <td className="faint">{event.actor}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </div>
  );
}

function toneOf(event: Happening): "accent" | "bad" | "neutral" | "warn" {
  if (event.run?.state === "failed") return "bad";
  if (event.type === "promotion_declined") return "warn";
  return event.type.endsWith("_committed") || event.type === "alias_moved" ? "accent" : "neutral";
}
