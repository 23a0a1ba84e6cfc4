// The workflow: everything that was made in a workspace, from left to right by what it was made from.

import "@xyflow/react/dist/base.css";
import "../styles/workflow.css";
import {
  Background,
  BackgroundVariant,
  ReactFlow,
  ReactFlowProvider,
  useReactFlow,
} from "@xyflow/react";
import {
  Download,
  Focus,
  Map as MapIcon,
  Maximize,
  Minus,
  Plus,
  Search,
  Workflow as WorkflowIcon,
  X,
} from "lucide-react";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { Link } from "react-router";
import { useMay } from "../app/session";
import { tell } from "../app/toasts";
import { Button, IconButton, Segmented, Select } from "../ui/controls";
import { number, plural } from "../ui/format";
import { Empty, Failure, Loading } from "../ui/states";
import { Card, type CardNode } from "./Card";
import { save, toPng, toSvg } from "./export";
import { cardOfNode, type Graph, reach, show } from "./graph";
import { KINDS, type Kind, lookOf } from "./kinds";
import { layOut } from "./layout";
import { Overview } from "./Overview";
import { SidePanel } from "./SidePanel";
import { useKeys } from "./useKeys";
import { useShown } from "./useShown";
import { useWorkflow } from "./useWorkflow";
import { Wire, type WireEdge } from "./Wire";

const NODE_TYPES = { card: Card };
const EDGE_TYPES = { wire: Wire };
const FIT = { padding: 0.12, maxZoom: 1.1, duration: 200 };
const READABLE = 0.78; // zoom below which cards are only seen, not read
const EDGE = 40; // px
const DETAIL = [
  { value: "1", label: "Latest", title: "One card for each artefact, its newest version" },
  { value: "3", label: "Recent", title: "The last three versions; earlier ones behind a card" },
  { value: "all", label: "Everything", title: "Every version and every run" },
] as const;
const PERIODS = [
  { value: "", label: "Any time" },
  { value: "1", label: "Last hour" },
  { value: "24", label: "Last day" },
  { value: "168", label: "Last week" },
  { value: "720", label: "Last month" },
] as const;

export default function WorkflowPage() {
  const { graph, answer, error, retry } = useWorkflow();
  if (graph && graph.cards.size === 0) return <Nothing />;
  if (graph && answer) {
    return (
      <ReactFlowProvider>
        <Stage graph={graph} datasets={answer.dataset_names} total={answer.total} />
      </ReactFlowProvider>
    );
  }
  if (error) return <Failure what="The workflow cannot be shown" error={error} retry={retry} />;
  return <Loading what="Reading the workflow…" />;
}

function Nothing() {
  const mayImport = useMay("operate");
  return (
    <>
      <header className="page-head">
        <h1>Workflow</h1>
      </header>
      <Empty
        icon={WorkflowIcon}
        title="Nothing has happened in this workspace yet"
        action={
          mayImport && (
            <Link className="button primary" to="/import">
              Import images
            </Link>
          )
        }
      >
        Everything that becomes of imported images appears here by itself: dataset versions, models,
        deployments, labeling jobs. <code>loopline demo</code> shows the whole loop on real images,
        in a workspace of its own.
      </Empty>
    </>
  );
}

function Stage({
  graph,
  datasets,
  total,
}: {
  graph: Graph;
  datasets: readonly string[];
  total: number;
}) {
  const flow = useReactFlow<CardNode, WireEdge>();
  const { shown, set, detail, hours, dataset, way, node, toggleKind, expand } = useShown(graph);
  const [search, setSearch] = useState("");
  const [withMap, setWithMap] = useState(false); // opened where the graph does not fit
  const field = useRef<HTMLInputElement>(null);
  const stage = useRef<HTMLElement>(null);
  const part = useMemo(() => show(graph, shown), [graph, shown]);
  const layout = useMemo(() => layOut([...part.cards.values()], part.edges), [part]);
  const picked = node ? (cardOfNode(part, node)?.id ?? null) : null;
  const lit = useMemo(() => (picked ? reach(part, [picked], "both") : null), [part, picked]);
  const wanted = search.trim().toLowerCase();
  const found = useMemo(
    () =>
      new Set(
        wanted
          ? [...part.cards.values()]
              .filter((card) => card.text.includes(wanted))
              .map(({ id }) => id)
          : [],
      ),
    [part, wanted],
  );
  const nodes = useMemo<CardNode[]>(
    () =>
      [...part.cards.values()].map((card) => ({
        id: card.id,
        type: "card",
        position: layout.positions.get(card.id)!,
        width: card.width,
        height: card.height,
        ariaLabel: `${lookOf(card.kind).word} ${card.title} ${card.badge}, ${card.line}`,
        data: {
          card,
          lit: (!lit || lit.has(card.id)) && (!wanted || found.has(card.id)),
          found: Boolean(wanted) && found.has(card.id),
          picked: card.id === picked,
        },
      })),
    [part, layout, lit, picked, found, wanted],
  );
  const edges = useMemo<WireEdge[]>(
    () =>
      part.edges
        .map((edge) => ({ edge, isLit: lit?.has(edge.source) && lit.has(edge.target) }))
        // What a flow asked for would be an edge to nearly everything: shown when it is looked at.
        .filter(
          ({ edge, isLit }) =>
            edge.role !== "flow" || edge.source === picked || (isLit && edge.target === picked),
        )
        .map(({ edge, isLit }) => ({
          id: edge.id,
          source: edge.source,
          target: edge.target,
          type: "wire",
          zIndex: isLit ? 1 : 0,
          data: {
            points: layout.routes.get(edge.id) ?? [],
            returning: layout.returning.has(edge.id),
            state: lit ? (isLit ? "lit" : "dim") : "",
          },
        })),
    [part, layout, lit, picked],
  );
  const center = useCallback(
    (id: string) => {
      const place = layout.positions.get(id);
      const card = part.cards.get(id);
      if (!place || !card) return;
      const zoom = Math.max(flow.getZoom(), 0.7);
      void flow.setCenter(place.x + card.width / 2, place.y + card.height / 2, {
        zoom,
        duration: 200,
      });
    },
    [flow, layout, part],
  );
  const select = useCallback((id: string | null) => set({ node: id }), [set]);
  const go = useCallback(
    (id: string) => {
      select(id);
      const card = cardOfNode(part, id);
      if (card) center(card.id);
    },
    [select, part, center],
  );
  const pick = (id: string): void => {
    const card = part.cards.get(id);
    if (card?.members.length) expand(id);
    else select(id);
  };

  /** The whole graph if its cards can be read then, else its newest part. */
  const arrive = (): void => {
    const { width, height } = stage.current!.getBoundingClientRect();
    const zoom = Math.min(
      (width - 2 * EDGE) / layout.width,
      (height - 2 * EDGE) / layout.height,
      1,
    );
    if (zoom >= READABLE) void flow.fitView(FIT);
    else {
      setWithMap(true);
      const x = width - EDGE - layout.width * READABLE;
      void flow.setViewport({ x, y: (height - layout.height * READABLE) / 2, zoom: READABLE });
    }
  };

  // What is linked to is brought into sight once; other layouts are fitted when they change shape.
  const arrangement = `${shown.keep} ${[...shown.hidden].join()} ${shown.focus?.id} ${shown.focus?.way} ${shown.dataset} ${shown.since} ${shown.open.size}`;
  const first = useRef(true);
  // biome-ignore lint/correctness/useExhaustiveDependencies: fits when the arrangement changes, not when news comes in
  useEffect(() => {
    const timer = setTimeout(() => {
      if (first.current && node) go(node);
      else arrive();
      first.current = false;
    }, 30);
    return () => clearTimeout(timer);
  }, [arrangement]);
  useKeys({
    "/": () => field.current?.focus(),
    f: () => void flow.fitView(FIT),
    "+": () => void flow.zoomIn(),
    "-": () => void flow.zoomOut(),
    Escape: () => select(null),
  });

  const exportAs = async (kind: string): Promise<void> => {
    try {
      const svg = toSvg(part, layout);
      const blob =
        kind === "svg"
          ? new Blob([svg], { type: "image/svg+xml" })
          : await toPng(svg, layout.width, layout.height);
      save(blob, `workflow.${kind}`);
    } catch (failure) {
      tell(failure instanceof Error ? failure.message : "The picture could not be made", "bad");
    }
  };
  const counts = useMemo(() => {
    const found = new Map<Kind, number>();
    for (const card of graph.cards.values()) found.set(card.kind, (found.get(card.kind) ?? 0) + 1);
    return found;
  }, [graph]);
  const focused = shown.focus ? graph.cards.get(shown.focus.id) : null;

  return (
    <>
      <header className="page-head">
        <h1>Workflow</h1>
        <span className="faint num">
          {plural(total, "node")}
          {part.cards.size < graph.cards.size && `, ${number(part.cards.size)} shown`}
        </span>
        <span className="grow" />
        <Segmented
          label="Versions"
          value={detail}
          options={DETAIL}
          onChange={(value) => set({ detail: value })}
        />
        {datasets.length > 1 && (
          <Select
            bare
            label="Dataset"
            value={dataset}
            options={[{ value: "", label: "All datasets" }, ...datasets]}
            onChange={(value) => set({ dataset: value })}
          />
        )}
        <Select
          bare
          label="Time"
          value={hours}
          options={PERIODS}
          onChange={(value) => set({ since: value })}
        />
        <Menu label="Export" onChoose={(kind) => void exportAs(kind)} />
      </header>
      <div className="toolbar">
        <label className="search">
          <Search size={15} aria-hidden />
          <span className="visually-hidden">Search the graph</span>
          <input
            ref={field}
            type="search"
            placeholder="Search  /"
            value={search}
            onChange={(event) => setSearch(event.target.value)}
            onKeyDown={(event) => {
              if (event.key === "Enter" && found.size) go([...found][0]!);
              if (event.key === "Escape") {
                setSearch("");
                event.currentTarget.blur();
              }
            }}
          />
        </label>
        {wanted && <span className="faint num">{plural(found.size, "match", "matches")}</span>}
        <div className="kinds" role="group" aria-label="Kinds shown">
          {KINDS.filter((kind) => counts.has(kind)).map((kind) => (
            <button
              key={kind}
              type="button"
              className={`kind-filter of-${lookOf(kind).colour}`}
              aria-pressed={!shown.hidden.has(kind)}
              onClick={() => toggleKind(kind)}
            >
              <i aria-hidden /> {lookOf(kind).many} <span className="num">{counts.get(kind)}</span>
            </button>
          ))}
        </div>
      </div>
      <div className="workflow">
        <section ref={stage} className="workflow-stage" aria-label="Workflow graph">
          <ReactFlow
            nodes={nodes}
            edges={edges}
            nodeTypes={NODE_TYPES}
            edgeTypes={EDGE_TYPES}
            onNodeClick={(_, { id }) => pick(id)}
            onPaneClick={() => select(null)}
            onKeyDown={(event) => {
              const id = (event.target as HTMLElement).dataset.id;
              if (id && (event.key === "Enter" || event.key === " ")) pick(id);
            }}
            nodesDraggable={false}
            nodesConnectable={false}
            elementsSelectable={false}
            edgesFocusable={false}
            nodesFocusable
            disableKeyboardA11y
            onlyRenderVisibleElements
            minZoom={0.05}
            maxZoom={2}
            panOnScroll
            zoomOnDoubleClick={false}
            proOptions={{ hideAttribution: true }}
          >
            <Background variant={BackgroundVariant.Dots} gap={24} size={1} color="var(--line)" />
          </ReactFlow>
          {focused && (
            <div className="workflow-note">
              <Focus size={15} className="muted" aria-hidden />
              <span>
                {focused.title} {focused.badge}
              </span>
              <Segmented
                label="Focus"
                value={way}
                options={[
                  { value: "upstream", label: "Came from" },
                  { value: "downstream", label: "Became" },
                  { value: "both", label: "Both" },
                ]}
                onChange={(value) => set({ way: value })}
              />
              <IconButton
                size="s"
                icon={X}
                label="Leave the focus"
                onClick={() => set({ focus: null, way: null })}
              />
            </div>
          )}
          {withMap && <Overview graph={part} layout={layout} />}
          <div className="workflow-tools">
            <IconButton icon={Plus} label="Zoom in" keys="+" onClick={() => void flow.zoomIn()} />
            <IconButton
              icon={Minus}
              label="Zoom out"
              keys="-"
              onClick={() => void flow.zoomOut()}
            />
            <IconButton
              icon={Maximize}
              label="Fit"
              keys="F"
              onClick={() => void flow.fitView(FIT)}
            />
            <IconButton
              icon={MapIcon}
              label="Overview"
              pressed={withMap}
              onClick={() => setWithMap(!withMap)}
            />
          </div>
          {part.cards.size === 0 && (
            <div className="workflow-empty">
              <Empty
                title="Nothing matches these filters"
                action={
                  <Button onClick={() => set({ focus: null, since: null, dataset: null })}>
                    Clear the filters
                  </Button>
                }
              />
            </div>
          )}
        </section>
        {node && (
          <SidePanel
            key={node}
            id={node}
            onGo={go}
            onClose={() => select(null)}
            onFocus={(direction) => set({ focus: node, way: direction })}
          />
        )}
      </div>
    </>
  );
}

function Menu({ label, onChoose }: { label: string; onChoose: (kind: string) => void }) {
  return (
    <label className="button menu-button">
      <Download size={15} aria-hidden />
      {label}
      <select
        aria-label={`${label} the graph`}
        value=""
        onChange={(event) => {
          onChoose(event.target.value);
          event.target.value = "";
        }}
      >
        <option value="" disabled hidden />
        <option value="svg">as SVG</option>
        <option value="png">as PNG</option>
      </select>
    </label>
  );
}
