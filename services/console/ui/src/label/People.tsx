// Who is asked to label and to review.

import { useQuery } from "@tanstack/react-query";
import { get, type Schemas } from "../api/client";
import { Choices } from "../ui/controls";
import { Refusal } from "../ui/states";

type Member = Schemas["MembersOut"]["members"][number];
const MAY_LABEL: Member["role"][] = ["labeler", "reviewer", "operator", "admin"];
const MAY_REVIEW = MAY_LABEL.slice(1);

export function PeopleFields({
  labelers,
  reviewers,
  onChange,
}: {
  labelers: string[];
  reviewers: string[];
  onChange: (changes: { labelers?: string[]; reviewers?: string[] }) => void;
}) {
  const members = useQuery({
    queryKey: ["members"],
    queryFn: async () => (await get<Schemas["MembersOut"]>("/api/members")).members,
  });
  return (
    <>
      <Refusal error={members.error} />
      <Choices
        label="Labelers"
        hint="nobody ticked: whoever may label"
        options={optionsOf(members.data ?? [], MAY_LABEL, labelers)}
        chosen={labelers}
        onChange={(names) => onChange({ labelers: names })}
      />
      <Choices
        label="Reviewers"
        hint="nobody ticked: whoever may review"
        options={optionsOf(members.data ?? [], MAY_REVIEW, reviewers)}
        chosen={reviewers}
        onChange={(names) => onChange({ reviewers: names })}
      />
    </>
  );
}

/** Who may, and who was asked already, be they gone from the console or never in it. */
function optionsOf(members: Member[], roles: Member["role"][], asked: string[]) {
  const able = members.filter(({ role }) => roles.includes(role));
  const others = asked.filter((name) => !able.some((member) => member.name === name));
  return [
    ...able.map(({ name, role }) => ({ value: name, label: name, aside: role })),
    ...others.map((name) => ({ value: name, label: name })),
  ];
}
