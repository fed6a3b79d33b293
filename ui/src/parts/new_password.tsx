// The field of a new password.
import { useSignal } from "@preact/signals";
import { Field } from "./elements";

export function NewPassword({ label = "New password", name = "newPassword", error }: { label?: string; name?: string; error?: string | undefined }) {
  const isShown = useSignal(false);
  return (
    <Field label={label} error={error} hint="10 characters or more. Three words that do not belong together are a good choice.">
      {(id, describedBy) => {
        const input = {
          id, name, required: true, minLength: 10, maxLength: 256, autocomplete: "new-password" as const,
          "aria-describedby": describedBy, "aria-invalid": error ? true : undefined,
        };
        return (
          <span class="with-button">
            {isShown.value ? <input type="text" {...input} /> : <input type="password" {...input} />}
            <button type="button" class="quiet small" aria-pressed={isShown.value} onClick={() => { isShown.value = !isShown.value; }}>{isShown.value ? "Hide" : "Show"}</button>
          </span>
        );
      }}
    </Field>
  );
}
