// Ctrl+K: every page, dataset, model and labeling job by a few letters of its name.

import { useQuery } from "@tanstack/react-query";
import { Boxes, Database, type LucideIcon, Search, SquarePen } from "lucide-react";
import { useLayoutEffect, useMemo, useRef, useState } from "react";
import { useNavigate } from "react-router";
import { get, type Schemas } from "../api/client";
import { PAGES } from "./Shell";
import { useSession } from "./session";

type Place = { path: string; label: string; what: string; icon: LucideIcon };
const SHOWN_MAX = 12;

function usePlaces(): Place[] {
  const session = useSession();
  const datasets = useQuery({
    queryKey: ["datasets"],
    queryFn: () => get<Schemas["DatasetsOut"]>("/api/datasets"),
  });
  const models = useQuery({
    queryKey: ["models"],
    queryFn: () => get<Schemas["ModelsOut"]>("/api/models"),
  });
  const jobs = useQuery({
    queryKey: ["jobs"],
    queryFn: () => get<{ jobs: { job: string }[] }>("/api/jobs"),
  });
  return useMemo(() => {
    const pages = PAGES.filter((page) => session.scopes.includes(page.scope));
    return [
      ...pages.map(({ path, label, icon }) => ({ path, label, icon, what: "Page" })),
      ...(datasets.data?.datasets ?? []).map(({ name }) => ({
        path: `/datasets/${name}`,
        label: name,
        icon: Database,
        what: "Dataset",
      })),
      ...(models.data?.models ?? []).map(({ name }) => ({
        path: `/models/${name}`,
        label: name,
        icon: Boxes,
        what: "Model",
      })),
      ...(jobs.data?.jobs ?? []).map(({ job }) => ({
        path: `/label/${job}`,
        label: job,
        icon: SquarePen,
        what: "Labeling job",
      })),
    ];
  }, [session, datasets.data, models.data, jobs.data]);
}

export function Palette({ onClose }: { onClose: () => void }) {
  const place = useRef<HTMLDialogElement>(null);
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const go = useNavigate();
  const places = usePlaces();
  const wanted = text.trim().toLowerCase();
  const found = places
    .filter(({ label, what }) => `${label} ${what}`.toLowerCase().includes(wanted))
    .slice(0, SHOWN_MAX);
  const current = Math.min(at, found.length - 1);
  useLayoutEffect(() => {
    if (!place.current?.open) place.current?.showModal();
  }, []);
  const open = (path: string): void => {
    onClose();
    void go(path);
  };
  return (
    <dialog ref={place} className="palette" aria-label="Find anything" onClose={onClose}>
      <input
        autoFocus
        role="combobox"
        aria-expanded
        aria-controls="palette-found"
        aria-activedescendant={found.length ? `palette-${current}` : undefined}
        aria-label="Find a page, dataset, model or job"
        placeholder="Find a page, dataset, model or job…"
        value={text}
        onChange={(event) => {
          setText(event.target.value);
          setAt(0);
        }}
        onKeyDown={(event) => {
          if (event.key === "ArrowDown") setAt(Math.min(current + 1, found.length - 1));
          else if (event.key === "ArrowUp") setAt(Math.max(current - 1, 0));
          else if (event.key === "Enter" && found[current]) open(found[current].path);
          else return;
          event.preventDefault();
        }}
      />
      <ul id="palette-found" role="listbox" aria-label="Found">
        {found.map(({ path, label, what, icon: Icon }, index) => (
          <li
            key={path}
            id={`palette-${index}`}
            role="option"
            tabIndex={-1}
            aria-selected={index === current}
            onMouseEnter={() => setAt(index)}
            onClick={() => open(path)}
            onKeyDown={() => {}}
          >
            <Icon size={16} className="muted" aria-hidden />
            {label}
            <span className="faint">{what}</span>
          </li>
        ))}
      </ul>
      {!found.length && (
        <p className="state-text muted" style={{ padding: "0 16px 16px" }}>
          <Search size={14} aria-hidden /> Nothing is called “{text}”.
        </p>
      )}
    </dialog>
  );
}
