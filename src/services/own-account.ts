/** What people do with their own account: another password, and an end to sessions. */
import type { DataSource } from 'typeorm';
import type { Request } from '../auth/actor';
import { hashPassword, judgePassword, normal, passwordFits } from '../auth/passwords';
import { findRow } from '../db/rows';
import { User } from '../entities/user';
import { invalidInput, notFound } from '../errors';
import type { Audit } from './audit';
import { endSessions, onOwnAccount } from './session-rows';
import { badCredentials, person } from './sessions';
import { passwordIsElsewhere } from './users';

export class OwnAccount {
  constructor(
    private readonly db: DataSource,
    private readonly audit: Audit,
  ) {}

  /** Changes the caller's own password, ends their other sessions, and makes an invited account active. */
  async changePassword(request: Request, current: string, wanted: string): Promise<User> {
    const { actor } = request;
    const user = await this.db.getRepository(User).findOneByOrFail({ id: actor.userId });
    if (user.issuer !== null) throw invalidInput('currentPassword', passwordIsElsewhere(user.issuer));
    judgePassword(wanted, 'newPassword', [user.email, user.displayName]);
    const wrong = badCredentials('The current password is wrong.', ['currentPassword']);
    if (!(await passwordFits(user.passwordHash, current))) throw wrong;
    if (normal(current) === normal(wanted))
      throw invalidInput('newPassword', 'The new password must differ from the current one.');
    const passwordHash = await hashPassword(wanted);
    return onOwnAccount(this.db, actor, async (tx) => {
      const [, changed] = await tx.query<[unknown[], number]>(CHANGE_PASSWORD, [
        user.id,
        passwordHash,
        user.passwordHash,
      ]);
      if (changed === 0) throw wrong; // another one came first
      await endSessions(tx, user.id, { except: actor.credential.id });
      await this.audit.record(tx, request, { action: 'changePassword', resource: person(user) });
      return (await findRow(tx, User, user.id)) ?? user;
    });
  }

  /** Ends one of the caller's sessions, from which this may come. */
  async endSession(request: Request, sessionId: string | null): Promise<void> {
    await onOwnAccount(this.db, request.actor, async (tx, user) => {
      if (!sessionId || (await endSessions(tx, user.id, { only: sessionId })) === 0)
        throw notFound('sessionId', 'session');
      await this.audit.record(tx, request, { action: 'endSession', resource: person(user) });
    });
  }

  /** Ends all of the caller's sessions but the one that this comes from. */
  async endOtherSessions(request: Request): Promise<void> {
    await onOwnAccount(this.db, request.actor, async (tx, user) => {
      if ((await endSessions(tx, user.id, { except: request.actor.credential.id })) > 0)
        await this.audit.record(tx, request, { action: 'endOtherSessions', resource: person(user) });
    });
  }
}

const CHANGE_PASSWORD = `
update users set password_hash = $2, one_time_password = false,
  status = case status when 'INVITED' then 'ACTIVE' else status end
where id = $1 and password_hash = $3`;
