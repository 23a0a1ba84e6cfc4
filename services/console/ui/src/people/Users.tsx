import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { UserPlus } from "lucide-react";
import { useState } from "react";
import { get, type Schemas, send } from "../api/client";
import { useSession } from "../app/session";
import { tell } from "../app/toasts";
import { Actions, ActionsHead } from "../ui/actions";
import { Button, Chip, Field, Select } from "../ui/controls";
import { Confirm, Dialog } from "../ui/dialog";
import { ago, moment } from "../ui/format";
import { Failure, Loading, Refusal } from "../ui/states";

type User = Schemas["UserOut"];
type Role = User["role"];
const ROLES: { value: Role; label: string; may: string }[] = [
  { value: "viewer", label: "Viewer", may: "looks at everything" },
  { value: "labeler", label: "Labeler", may: "labels too" },
  { value: "reviewer", label: "Reviewer", may: "reviews labels too" },
  { value: "operator", label: "Operator", may: "imports, trains, promotes and restores too" },
  { value: "admin", label: "Admin", may: "manages users too" },
];

export function Users() {
  const queries = useQueryClient();
  const { name: me } = useSession();
  const users = useQuery({
    queryKey: ["users"],
    queryFn: () => get<Schemas["UsersOut"]>("/api/users"),
  });
  const [adding, setAdding] = useState(false);
  const [removing, setRemoving] = useState<User | null>(null);
  const [link, setLink] = useState<Schemas["LinkOut"] | null>(null);
  const refresh = (): void => void queries.invalidateQueries({ queryKey: ["users"] });
  const change = useMutation({
    mutationFn: ({ name, ...changes }: { name: string } & Partial<User>) =>
      send("PATCH", `/api/users/${name}`, changes),
    onSuccess: refresh,
    onError: (error) => tell(error.message, "bad"),
  });
  const remove = useMutation({
    mutationFn: (name: string) => send("DELETE", `/api/users/${name}`),
    onSuccess: () => {
      setRemoving(null);
      refresh();
    },
  });
  const invite = useMutation({
    mutationFn: (name: string) => send<Schemas["LinkOut"]>("POST", `/api/users/${name}/link`),
    onSuccess: setLink,
    onError: (error) => tell(error.message, "bad"),
  });
  if (users.isError)
    return (
      <Failure
        what="The users cannot be shown"
        error={users.error}
        retry={() => void users.refetch()}
      />
    );
  if (!users.data) return <Loading what="Reading the users…" />;
  return (
    <div className="stack" style={{ gap: 12 }}>
      <div>
        <Button tone="primary" icon={UserPlus} onClick={() => setAdding(true)}>
          Add a user
        </Button>
      </div>
      <div className="panel">
        <table className="table">
          <thead>
            <tr>
              <th>Name</th>
              <th>Role</th>
              <th>Signs in by</th>
              <th>Last signed in</th>
              <ActionsHead />
            </tr>
          </thead>
          <tbody>
            {users.data.users.map((user) => (
              <tr key={user.name}>
                <td>
                  <strong>{user.name}</strong>{" "}
                  {user.name === me && <span className="faint">you</span>}
                  {user.is_disabled && <Chip tone="bad">disabled</Chip>}
                  {user.email && <div className="faint">{user.email}</div>}
                </td>
                <td>
                  {user.name === me ? (
                    <span className="as-select">
                      {ROLES.find(({ value }) => value === user.role)?.label}
                    </span>
                  ) : (
                    <Select
                      bare
                      label={`Role of ${user.name}`}
                      value={user.role}
                      options={ROLES}
                      onChange={(role) => change.mutate({ name: user.name, role: role as Role })}
                    />
                  )}
                </td>
                <td className="muted">
                  {[user.has_password ? "password" : "", user.has_oidc ? "identity provider" : ""]
                    .filter(Boolean)
                    .join(", ") || "a link"}
                </td>
                <td className="muted">{user.signed_in_at ? ago(user.signed_in_at) : "never"}</td>
                <td>
                  {user.name !== me && (
                    <Actions>
                      <Button size="s" onClick={() => invite.mutate(user.name)}>
                        Sign-in link
                      </Button>
                      <Button
                        size="s"
                        onClick={() =>
                          change.mutate({ name: user.name, is_disabled: !user.is_disabled })
                        }
                      >
                        {user.is_disabled ? "Enable" : "Disable"}
                      </Button>
                      <Button size="s" tone="danger" onClick={() => setRemoving(user)}>
                        Remove
                      </Button>
                    </Actions>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {adding && (
        <AddUser
          onClose={() => setAdding(false)}
          onAdded={(user) => {
            setAdding(false);
            refresh();
            if (!user.has_password) invite.mutate(user.name);
          }}
        />
      )}
      {removing && (
        <Confirm
          title={`Remove ${removing.name}?`}
          yes="Remove"
          tone="danger"
          busy={remove.isPending}
          error={remove.error}
          onYes={() => remove.mutate(removing.name)}
          onClose={() => setRemoving(null)}
        >
          <p>
            {removing.name} is signed out everywhere, and their tokens end. What they labeled stays
            theirs in the log.
          </p>
        </Confirm>
      )}
      {link && (
        <Dialog title="Sign-in link" onClose={() => setLink(null)}>
          <p className="muted">
            It signs this person in once, until {moment(link.expires_at)}. Hand it over in private.
          </p>
          <div className="secret">{link.url}</div>
        </Dialog>
      )}
    </div>
  );
}

function AddUser({ onClose, onAdded }: { onClose: () => void; onAdded: (user: User) => void }) {
  const [form, setForm] = useState({ name: "", role: "labeler" as Role, email: "", password: "" });
  const add = useMutation({
    mutationFn: () => send<User>("POST", "/api/users", form),
    onSuccess: onAdded,
  });
  const set = (changes: Partial<typeof form>): void => setForm({ ...form, ...changes });
  return (
    <Dialog
      title="Add a user"
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button
            tone="primary"
            disabled={!form.name || add.isPending}
            onClick={() => add.mutate()}
          >
            Add
          </Button>
        </>
      }
    >
      <Field
        label="Name"
        hint="a-z, 0-9, - and _"
        value={form.name}
        onChange={(event) => set({ name: event.target.value })}
      />
      <Select
        label="Role"
        value={form.role}
        options={ROLES.map(({ value, label, may }) => ({ value, label: `${label}: ${may}` }))}
        onChange={(role) => set({ role: role as Role })}
      />
      <Field
        label="E-mail"
        type="email"
        hint="optional; for notifications"
        value={form.email}
        onChange={(event) => set({ email: event.target.value })}
      />
      <Field
        label="Password"
        type="password"
        autoComplete="new-password"
        hint="at least 10 characters; leave it empty for a sign-in link"
        value={form.password}
        onChange={(event) => set({ password: event.target.value })}
      />
      <Refusal error={add.error} />
    </Dialog>
  );
}
