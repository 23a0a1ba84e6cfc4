// Users and their roles, and tokens for programs.

import "../styles/live.css";
import { useState } from "react";
import { useMay } from "../app/session";
import { Segmented } from "../ui/controls";
import { Password } from "./Password";
import { Tokens } from "./Tokens";
import { Users } from "./Users";

export default function PeoplePage() {
  const isAdmin = useMay("admin");
  const [tab, setTab] = useState<"users" | "tokens" | "password">(isAdmin ? "users" : "tokens");
  return (
    <>
      <header className="page-head">
        <h1>{isAdmin ? "Users & tokens" : "Tokens"}</h1>
        <span className="grow" />
        <Segmented
          label="View"
          value={tab}
          options={[
            ...(isAdmin ? [{ value: "users" as const, label: "Users" }] : []),
            { value: "tokens", label: "Tokens" },
            { value: "password", label: "Password" },
          ]}
          onChange={setTab}
        />
      </header>
      <div className="page-body">
        {tab === "users" && <Users />}
        {tab === "tokens" && <Tokens />}
        {tab === "password" && <Password />}
      </div>
    </>
  );
}
