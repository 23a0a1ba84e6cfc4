import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { Compass } from "lucide-react";
import { lazy } from "react";
import { createRoot } from "react-dom/client";
import { createBrowserRouter, Link, Navigate, RouterProvider } from "react-router";
import { Refused } from "./api/errors";
import { Shell } from "./app/Shell";
import { SessionGate } from "./app/session";
import { applyTheme } from "./app/theme";
import { Empty } from "./ui/states";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/controls.css";
import "./styles/shell.css";

const STALE_MS = 10_000;
const TRIES_MAX = 2;

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: STALE_MS,
      // A refusal stays one; only what got no answer, or a server's fault, is worth another try.
      retry: (failures, error) =>
        failures < TRIES_MAX && !(error instanceof Refused && error.status < 500),
    },
  },
});

function Nowhere() {
  return (
    <Empty
      icon={Compass}
      title="There is no such page"
      action={
        <Link className="button" to="/workflow">
          To the workflow
        </Link>
      }
    >
      The address may be of an older release, or mistyped.
    </Empty>
  );
}

// Each page is a file of its own, loaded when it is opened.
const WorkflowPage = lazy(() => import("./workflow/WorkflowPage"));
const DatasetsPage = lazy(() => import("./datasets/DatasetsPage"));
const DatasetPage = lazy(() => import("./datasets/DatasetPage"));
const JobsPage = lazy(() => import("./label/JobsPage"));
const LabelPage = lazy(() => import("./label/LabelPage"));
const ModelsPage = lazy(() => import("./models/ModelsPage"));
const ModelPage = lazy(() => import("./models/ModelPage"));
const LivePage = lazy(() => import("./live/LivePage"));
const ImportPage = lazy(() => import("./imports/ImportPage"));
const PeoplePage = lazy(() => import("./people/PeoplePage"));

const router = createBrowserRouter([
  {
    element: <Shell />,
    children: [
      { path: "/", element: <Navigate to="/workflow" replace /> },
      { path: "/sign-in", element: <Navigate to="/workflow" replace /> },
      { path: "/workflow", element: <WorkflowPage /> },
      { path: "/datasets", element: <DatasetsPage /> },
      { path: "/datasets/:name", element: <DatasetPage /> },
      { path: "/datasets/:name/:version", element: <DatasetPage /> },
      { path: "/label", element: <JobsPage /> },
      { path: "/label/:job", element: <LabelPage /> },
      { path: "/models", element: <ModelsPage /> },
      { path: "/models/:name", element: <ModelPage /> },
      { path: "/models/:name/:version", element: <ModelPage /> },
      { path: "/live", element: <LivePage /> },
      { path: "/import", element: <ImportPage /> },
      { path: "/people", element: <PeoplePage /> },
      { path: "*", element: <Nowhere /> },
    ],
  },
]);

applyTheme();
createRoot(document.getElementById("root")!).render(
  <QueryClientProvider client={queries}>
    <SessionGate>
      <RouterProvider router={router} />
    </SessionGate>
  </QueryClientProvider>,
);
