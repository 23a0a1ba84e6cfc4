// What happens now: runs with their curves, agents, queues, the tail of events, dead letters.

import "../styles/items.css";
import "../styles/live.css";
import { useQuery } from "@tanstack/react-query";
import { Link, useSearchParams } from "react-router";
import { get, type Schemas } from "../api/client";
import { tabOf } from "../ui/tabs";
import { Agents } from "./Agents";
import { Dead } from "./Dead";
import { Events } from "./Events";
import { Queues } from "./Queues";
import { Runs } from "./Runs";

const TABS = [
  { id: "runs", label: "Runs" },
  { id: "agents", label: "Agents" },
  { id: "queues", label: "Queues" },
  { id: "events", label: "Events" },
  { id: "dead", label: "Dead letters" },
] as const;

export default function LivePage() {
  const [address] = useSearchParams();
  const tab = tabOf(address, TABS, "runs");
  const queues = useQuery({
    queryKey: ["queues"],
    queryFn: () => get<Schemas["QueuesOut"]>("/api/queues"),
    refetchInterval: 5_000,
  });
  const dead = queues.data?.dead ?? 0;
  return (
    <>
      <header className="page-head">
        <h1>Live</h1>
      </header>
      <nav className="tabs" aria-label="Views">
        {TABS.map(({ id, label }) => (
          <Link key={id} to={`/live?tab=${id}`} aria-current={tab === id ? "page" : undefined}>
            {label}
            {id === "dead" && dead > 0 && <span className="tab-count">{dead}</span>}
          </Link>
        ))}
      </nav>
      {tab === "runs" && <Runs />}
      {tab === "agents" && <Agents />}
      {tab === "queues" && <Queues answer={queues.data} error={queues.error} />}
      {tab === "events" && <Events />}
      {tab === "dead" && <Dead />}
    </>
  );
}
