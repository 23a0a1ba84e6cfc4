// The frame around every page: where one is, where one can go, who one is.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import {
  Activity,
  Boxes,
  Database,
  LogOut,
  Moon,
  PanelLeftClose,
  PanelLeftOpen,
  Search,
  SquarePen,
  Sun,
  Upload,
  Users,
  Workflow,
} from "lucide-react";
import { Suspense, useEffect, useState } from "react";
import { NavLink, Outlet, useLocation } from "react-router";
import { get, type Schemas, send } from "../api/client";
import { follow, useIsLive } from "../api/live";
import { IconButton } from "../ui/controls";
import { Boundary, Loading } from "../ui/states";
import { Logo } from "./Logo";
import { Palette } from "./Palette";
import { useMay, useSession } from "./session";
import { toggleTheme, useTheme } from "./theme";
import { Toasts } from "./toasts";

export const PAGES = [
  { path: "/workflow", label: "Workflow", icon: Workflow, scope: "read" },
  { path: "/datasets", label: "Datasets", icon: Database, scope: "read" },
  { path: "/label", label: "Label", icon: SquarePen, scope: "label" },
  { path: "/models", label: "Models", icon: Boxes, scope: "read" },
  { path: "/live", label: "Live", icon: Activity, scope: "read" },
  { path: "/import", label: "Import", icon: Upload, scope: "operate" },
] as const;

const NARROW_KEY = "loopline.sidebar";

export function Shell() {
  const queries = useQueryClient();
  const { pathname } = useLocation();
  const [narrow, setNarrow] = useState(localStorage.getItem(NARROW_KEY) === "narrow");
  const [finding, setFinding] = useState(false);
  const isLabeling = /^\/label\/./.test(pathname);
  useEffect(() => follow(queries), [queries]);
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        setFinding(true);
      }
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, []);
  const toggle = (): void => {
    localStorage.setItem(NARROW_KEY, narrow ? "wide" : "narrow");
    setNarrow(!narrow);
  };
  return (
    <div className={narrow || isLabeling ? "shell narrow" : "shell"}>
      <a className="skip" href="#main">
        Skip to the page
      </a>
      <Sidebar
        narrow={narrow || isLabeling}
        onFind={() => setFinding(true)}
        onToggle={isLabeling ? null : toggle}
      />
      <main className="main" id="main" tabIndex={-1}>
        <Boundary key={pathname.split("/")[1]}>
          <Suspense fallback={<Loading what="Opening the page…" />}>
            <Outlet />
          </Suspense>
        </Boundary>
      </main>
      {finding && <Palette onClose={() => setFinding(false)} />}
      <Toasts />
    </div>
  );
}

function Sidebar({
  narrow,
  onFind,
  onToggle,
}: {
  narrow: boolean;
  onFind: () => void;
  onToggle: (() => void) | null;
}) {
  const session = useSession();
  const isLive = useIsLive();
  const queues = useQuery({
    queryKey: ["queues"],
    queryFn: () => get<Schemas["QueuesOut"]>("/api/queues"),
    refetchInterval: 15_000,
  });
  const dead = queues.data?.dead ?? 0;
  return (
    <aside className="sidebar">
      <NavLink to="/workflow" className="brand">
        <Logo />
        <span className="label-text">
          <strong>{session.workspace}</strong>
          <span>Loopline</span>
        </span>
      </NavLink>
      <button type="button" className="finder" onClick={onFind} title="Find anything (Ctrl+K)">
        <Search size={15} aria-hidden />
        <span className="label-text">Find</span>
        <kbd>Ctrl K</kbd>
      </button>
      <nav className="nav" aria-label="Pages">
        {PAGES.filter((page) => session.scopes.includes(page.scope)).map((page) => (
          <NavLink key={page.path} to={page.path} title={narrow ? page.label : undefined}>
            <page.icon size={17} aria-hidden />
            <span className="label-text">{page.label}</span>
            {page.path === "/live" && dead > 0 && (
              <span className="count bad" title={`${dead} dead letters`}>
                {dead}
                <span className="visually-hidden"> dead letters</span>
              </span>
            )}
          </NavLink>
        ))}
      </nav>
      <div className="sidebar-foot">
        <Foot narrow={narrow} onToggle={onToggle} />
        <div className="me">
          <span
            className={isLive ? "live-dot" : "live-dot lost"}
            role="img"
            aria-label={isLive ? "Live" : "Not live: reconnecting"}
            title={isLive ? "Live" : "Not live: reconnecting"}
          />
          <span className="who">
            <strong>{session.name}</strong>
            <span>{session.role}</span>
          </span>
          {!narrow && <SignOut />}
        </div>
      </div>
    </aside>
  );
}

function Foot({ narrow, onToggle }: { narrow: boolean; onToggle: (() => void) | null }) {
  const theme = useTheme();
  const isAdmin = useMay("admin");
  const Sign = theme === "dark" ? Sun : Moon;
  const Fold = narrow ? PanelLeftOpen : PanelLeftClose;
  const other = theme === "dark" ? "Light" : "Dark";
  return (
    <>
      <nav className="nav" aria-label="Settings">
        <NavLink to="/people" title={narrow ? "Users and tokens" : undefined}>
          <Users size={17} aria-hidden />
          <span className="label-text">{isAdmin ? "Users & tokens" : "Tokens"}</span>
        </NavLink>
      </nav>
      <button
        type="button"
        className="nav-like"
        onClick={toggleTheme}
        aria-label={`${other} theme`}
        title={narrow ? `${other} theme` : undefined}
      >
        <Sign size={17} aria-hidden />
        <span className="label-text">{other} theme</span>
      </button>
      {onToggle && (
        <button
          type="button"
          className="nav-like"
          onClick={onToggle}
          aria-label={narrow ? "Widen the sidebar" : "Narrow the sidebar"}
        >
          <Fold size={17} aria-hidden />
          <span className="label-text">Narrow</span>
        </button>
      )}
    </>
  );
}

function SignOut() {
  const queries = useQueryClient();
  const leave = async (): Promise<void> => {
    await send("DELETE", "/api/session");
    queries.clear();
    location.assign("/");
  };
  return <IconButton icon={LogOut} label="Sign out" size="s" onClick={() => void leave()} />;
}
