// Agents: the machines that train and predict, and what each of them does now.

import { useQuery } from "@tanstack/react-query";
import { Server } from "lucide-react";
import { useCallback, useState } from "react";
import { Link } from "react-router";
import { get, type Schemas } from "../api/client";
import { type Happening, useHappenings } from "../api/live";
import { Chip, Progress } from "../ui/controls";
import { Facts } from "../ui/data";
import { ago, bytes, percent, title, words } from "../ui/format";
import { Empty, Failure, Loading } from "../ui/states";

type Agent = Schemas["AgentOut"];

export function Agents() {
  const agents = useQuery({
    queryKey: ["agents"],
    queryFn: () => get<Schemas["AgentsOut"]>("/api/agents"),
    refetchInterval: 10_000,
  });
  const [live, setLive] = useState<ReadonlyMap<string, Agent>>(new Map());
  useHappenings(
    useCallback((event: Happening) => {
      const { agent } = event;
      if (agent) setLive((known) => new Map(known).set(agent.id, agent));
    }, []),
  );
  if (agents.isError)
    return (
      <Failure
        what="The agents cannot be shown"
        error={agents.error}
        retry={() => void agents.refetch()}
      />
    );
  if (!agents.data) return <Loading what="Asking the agents…" />;
  if (!agents.data.agents.length) {
    return (
      <Empty icon={Server} title="No agent is connected">
        Trainer and inference processes report here within ten seconds of their start, from any
        machine that reaches the bus.
      </Empty>
    );
  }
  return (
    <div className="page-body">
      <div className="tiles">
        {agents.data.agents.map((known) => {
          const said = live.get(known.id);
          return <AgentTile key={known.id} agent={said && said.at > known.at ? said : known} />;
        })}
      </div>
    </div>
  );
}

function AgentTile({ agent }: { agent: Agent }) {
  const isBusy = agent.running.length > 0;
  const cores = Math.max(1, ...agent.devices.map((device) => device.cores));
  return (
    <section className="tile" aria-label={agent.id}>
      <div className="tile-top">
        <strong>{agent.host}</strong>
        <span className="muted">{agent.kind}</span>
        <span className="push">
          <Chip tone={agent.state === "gone" ? "bad" : isBusy ? "accent" : "good"}>
            {agent.state === "gone" ? `silent since ${ago(agent.at)}` : isBusy ? "busy" : "idle"}
          </Chip>
        </span>
      </div>
      {Object.entries(agent.load)
        .filter(([name]) => !name.endsWith("_bytes"))
        .map(([name, value]) => (
          <Load key={name} name={name} value={value} cores={cores} />
        ))}
      {agent.running.map((run) => (
        <Link key={run.run} to={`/live?run=${encodeURIComponent(run.run)}`}>
          {run.title || words(run.kind)}
        </Link>
      ))}
      <Facts
        rows={[
          [
            "Devices",
            agent.devices
              .map(
                ({ name, kind, memory_bytes }) =>
                  `${name || kind}${memory_bytes ? `, ${bytes(memory_bytes)}` : ""}`,
              )
              .join("; "),
          ],
          ...Object.entries(agent.load)
            .filter(([name]) => name.endsWith("_bytes"))
            .map(([name, value]): [string, string] => [
              title(name.replace(/_bytes$/, "")),
              bytes(value),
            ]),
          ["Pools", agent.pools.join(", ")],
          [
            "Labels",
            Object.entries(agent.labels)
              .map(([key, value]) => `${key}=${value}`)
              .join(", "),
          ],
          ["Runs at once", agent.capacity ? String(agent.capacity) : ""],
          ["Started", ago(agent.started_at)],
        ]}
      />
    </section>
  );
}

/** A share of the whole; a load average is one of the cores there are. */
function Load({ name, value, cores }: { name: string; value: number; cores: number }) {
  const isAverage = /^load/.test(name);
  const share = isAverage ? value / cores : value;
  return (
    <div className="load">
      <span className="muted">{isAverage ? "load" : words(name)}</span>
      <Progress value={share} label={words(name)} />
      <span className="num">{isAverage ? value.toFixed(1) : percent(share, 0)}</span>
    </div>
  );
}
