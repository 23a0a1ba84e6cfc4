// Every model of the workspace.

import "../styles/items.css";
import { useQuery } from "@tanstack/react-query";
import { Boxes } from "lucide-react";
import { Link } from "react-router";
import { get, type Schemas } from "../api/client";
import { Chip } from "../ui/controls";
import { ago, metric, plural, words } from "../ui/format";
import { Empty, Failure, Loading } from "../ui/states";

export default function ModelsPage() {
  const models = useQuery({
    queryKey: ["models"],
    queryFn: () => get<Schemas["ModelsOut"]>("/api/models"),
  });
  return (
    <>
      <header className="page-head">
        <h1>Models</h1>
      </header>
      <div className="page-body">
        {models.isPending && <Loading what="Reading the models…" />}
        {models.isError && (
          <Failure
            what="The models cannot be shown"
            error={models.error}
            retry={() => void models.refetch()}
          />
        )}
        {models.data?.models.length === 0 && (
          <Empty icon={Boxes} title="No model was trained yet">
            A flow trains one when a dataset has enough labels. To train one by hand:
            <pre>
              <code>loopline train MODEL DATASET</code>
            </pre>
          </Empty>
        )}
        <div className="tiles">
          {models.data?.models.map(({ name, head, versions, aliases }) => (
            <Link key={name} className="tile" to={`/models/${name}`}>
              <div className="tile-top">
                <strong>{name}</strong>
                <span className="muted">v{head.version}</span>
                <span className="faint push">{ago(head.committed_at)}</span>
              </div>
              <div className="row wrap">
                <Chip>{words(head.task || head.recipe)}</Chip>
                {Object.entries(aliases).map(([alias, version]) => (
                  <Chip key={alias} tone="good">
                    {alias} v{version}
                  </Chip>
                ))}
              </div>
              <div className="stat-row">
                {head.main_value !== null && (
                  <div className="stat">
                    <strong>{metric(head.main_metric, head.main_value)}</strong>
                    <span>{words(head.main_metric)}</span>
                  </div>
                )}
                <div className="stat">
                  <strong>{head.classes.length}</strong>
                  <span>classes</span>
                </div>
                <div className="stat">
                  <strong>{versions}</strong>
                  <span>{versions === 1 ? "version" : "versions"}</span>
                </div>
              </div>
              {head.trained_on && (
                <p className="muted">Trained on {head.trained_on.label || head.trained_on.name}</p>
              )}
              <span className="visually-hidden">{plural(versions, "version")}</span>
            </Link>
          ))}
        </div>
      </div>
    </>
  );
}
