// Every dataset of the workspace.

import "../styles/items.css";
import { useQuery } from "@tanstack/react-query";
import { Database } from "lucide-react";
import { Link } from "react-router";
import { get, type Schemas, thumbnailUrl } from "../api/client";
import { useMay } from "../app/session";
import { ago, number, percent, plural } from "../ui/format";
import { Empty, Failure, Loading } from "../ui/states";

type Dataset = Schemas["DatasetOut"];
const BARS_MAX = 24;

export default function DatasetsPage() {
  const mayImport = useMay("operate");
  const datasets = useQuery({
    queryKey: ["datasets"],
    queryFn: () => get<Schemas["DatasetsOut"]>("/api/datasets"),
  });
  return (
    <>
      <header className="page-head">
        <h1>Datasets</h1>
        <span className="grow" />
        {mayImport && (
          <Link className="button" to="/import">
            Import images
          </Link>
        )}
      </header>
      <div className="page-body">
        {datasets.isPending && <Loading what="Reading the datasets…" />}
        {datasets.isError && (
          <Failure
            what="The datasets cannot be shown"
            error={datasets.error}
            retry={() => void datasets.refetch()}
          />
        )}
        {datasets.data?.datasets.length === 0 && (
          <Empty
            icon={Database}
            title="There is no dataset yet"
            action={
              mayImport && (
                <Link className="button primary" to="/import">
                  Import images
                </Link>
              )
            }
          >
            Drop a folder of images, or point at a bucket: the first import makes the dataset.
          </Empty>
        )}
        <div className="tiles">
          {datasets.data?.datasets.map((dataset) => (
            <Tile key={dataset.name} dataset={dataset} />
          ))}
        </div>
      </div>
    </>
  );
}

function Tile({ dataset }: { dataset: Dataset }) {
  const { head } = dataset;
  const classes = Object.entries(head.histogram).sort((a, b) => b[1] - a[1]);
  const most = Math.max(1, ...classes.map(([, count]) => count));
  return (
    <Link className="tile" to={`/datasets/${dataset.name}`}>
      <div className="tile-top">
        <strong>{dataset.name}</strong>
        <span className="muted">v{head.version}</span>
        <span className="faint push">{ago(head.committed_at)}</span>
      </div>
      <div className="thumbs">
        {head.thumbnails.slice(0, 6).map((asset) => (
          <img key={asset} src={thumbnailUrl(asset, 128)} alt="" loading="lazy" />
        ))}
      </div>
      <div className="stat-row">
        <div className="stat">
          <strong>{number(head.items)}</strong>
          <span>images</span>
        </div>
        <div className="stat">
          <strong>{percent(head.labeled / Math.max(1, head.items), 0)}</strong>
          <span>labeled</span>
        </div>
        <div className="stat">
          <strong>{classes.length}</strong>
          <span>classes</span>
        </div>
        <div className="stat">
          <strong>{dataset.versions}</strong>
          <span>{dataset.versions === 1 ? "version" : "versions"}</span>
        </div>
      </div>
      {classes.length > 0 && (
        <div
          className="spark"
          role="img"
          aria-label={`${plural(classes.length, "class", "classes")}: ${classes.map(([name]) => name).join(", ")}`}
        >
          {classes.slice(0, BARS_MAX).map(([name, count]) => (
            <i
              key={name}
              title={`${name}: ${number(count)}`}
              style={{ height: `${(100 * count) / most}%` }}
            />
          ))}
        </div>
      )}
    </Link>
  );
}
