// The field of a new password.
import { useSignal } from "@preact/signals";
import { Field } from "./elements";

export function NewPassword({ label = "New password", name = "newPassword", error }: { label?: string; name?: string; error?: string | undefined }) {
  const isShown = useSignal(false);
  return (
    <Field label={label} error={error} hint="10 characters or more. Three words that do not belong together are a good choice.">
      {(id, describedBy) => (
        <span class="with-button">
          <input id={id} name={name} type={isShown.value ? "text" : "password"} required minLength={10} maxLength={256}
            autocomplete="new-password" aria-describedby={describedBy} aria-invalid={error ? true : undefined} />
          <button type="button" class="quiet small" aria-pressed={isShown.value} onClick={() => { isShown.value = !isShown.value; }}>{isShown.value ? "Hide" : "Show"}</button>
        </span>
      )}
    </Field>
  );
}
