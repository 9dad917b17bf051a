import { useState, type FormEvent } from 'react';
import type { Account } from './accounts';
import type { Person, Session, SessionView } from './session';

interface BarProps {
  session: Session;
  view: SessionView;
  accounts: readonly Account[];
}

/** The bar above GraphiQL: who is signed in, and one click or a form to sign in. */
export function Bar({ session, view, accounts }: BarProps) {
  const { person, busy, problem } = view;
  return (
    <header className="bar">
      <strong>Keyframe</strong>
      {accounts.length > 0 && <Accounts {...{ session, accounts, busy, person }} />}
      {person ? <SignedIn {...{ session, person }} /> : <SignInForm {...{ session, busy }} />}
      {problem !== null && (
        <span role="alert" className="problem">
          {problem}
        </span>
      )}
    </header>
  );
}

function Accounts(props: { session: Session; accounts: readonly Account[]; busy: boolean; person: Person | null }) {
  const { session, accounts, busy, person } = props;
  return (
    <span className="accounts" role="group" aria-label="Demo accounts">
      Sign in as
      {accounts.map(({ name, email, password }) => (
        <button
          key={email}
          type="button"
          disabled={busy}
          title={email}
          aria-pressed={person?.email === email}
          onClick={() => void session.signIn(email, password)}
        >
          {name}
        </button>
      ))}
    </span>
  );
}

function SignedIn({ session, person }: { session: Session; person: Person }) {
  return (
    <span className="person" role="status">
      <b>{person.displayName}</b>
      <span>{person.email}</span>
      <code>{person.role}</code>
      <button type="button" onClick={() => void session.signOut()}>
        Sign out
      </button>
    </span>
  );
}

function SignInForm({ session, busy }: { session: Session; busy: boolean }) {
  const [email, setEmail] = useState('');
  const [password, setPassword] = useState('');
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void session.signIn(email, password);
  };
  // Should the script ever fail, a form that posts keeps the password out of the address.
  return (
    <form className="form" method="post" onSubmit={submit}>
      <input
        type="email"
        aria-label="E-mail"
        placeholder="E-mail"
        autoComplete="username"
        required
        value={email}
        onChange={(event) => setEmail(event.target.value)}
      />
      <input
        type="password"
        aria-label="Password"
        placeholder="Password"
        autoComplete="current-password"
        required
        value={password}
        onChange={(event) => setPassword(event.target.value)}
      />
      <button type="submit" disabled={busy}>
        Sign in
      </button>
      <span className="hint">Sign in to run the tabs below.</span>
    </form>
  );
}
