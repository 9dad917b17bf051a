/** The audit log: who did what, as far as each may know, and whether it is as it was written. */
import {
  Args,
  Ctx,
  Field,
  FieldResolver,
  ID,
  Int,
  ObjectType,
  Query,
  Resolver,
  Root,
  registerEnumType,
} from 'type-graphql';
import { Auth } from '../auth/directives';
import { AuditEvent } from '../entities/audit-event';
import { CredentialKind, Role } from '../entities/enums';
import { User } from '../entities/user';
import { AUDIT_EVENTS } from '../read/lists';
import type { Connection } from '../read/reads';
import { AuditFault, type AuditReport, type BadEntry } from '../services/audit-verification';
import { noteAuditRead } from './audit-reads';
import { AuditEventsArgs, withRowIds } from './audit.inputs';
import { AuditEventConnection } from './connections';
import type { Context } from './context';
import { toGlobalId, type NodeType } from './global-id';
import { BigInt } from './scalars';

registerEnumType(AuditFault, {
  name: 'AuditFault',
  description: 'What is not as it was written.',
  valuesConfig: {
    EDITED: { description: 'The entry says something else than was signed.' },
    REMOVED: { description: 'An entry that was here, or before this place, is gone.' },
    INSERTED: { description: 'The entry was written by somebody without the key.' },
    CHAIN_BROKEN: { description: 'The hash here does not follow from the entries before it.' },
    CHECKPOINT_EDITED: { description: 'The checkpoint at this place says something else than was signed.' },
    UNKNOWN_KEY: { description: 'It is signed with a key that this process does not have: AUDIT_PREVIOUS_SECRETS.' },
    UNSIGNED: { description: 'The entry was written by a process without a key, or by somebody else.' },
  },
});

@ObjectType({ description: 'By what the caller was known.' })
class AuditCredential {
  @Field(() => CredentialKind, { description: 'A session or an API token.' })
  kind: CredentialKind;

  @Field(() => ID, { description: 'Which one; never the secret itself.' })
  id: string;
}

@ObjectType({ description: 'A field that was changed. Secrets are told as `[redacted]`.' })
class AuditFieldChange {
  @Field(() => String, { description: 'Its name.' })
  field: string;

  @Field(() => String, { nullable: true, description: 'What it was, as text; null when it had no value.' })
  before: string | null;

  @Field(() => String, { nullable: true, description: 'What it has become, as text; null when it has no value.' })
  after: string | null;
}

@ObjectType({ description: 'The first entry that is not as it was written.' })
class AuditBadEntry {
  @Field(() => AuditFault, { description: 'What is wrong.' })
  fault: AuditFault;

  @Field(() => ID, { nullable: true, description: 'The entry; null when it is gone, or a checkpoint.' })
  id: string | null;

  @Field(() => BigInt, { nullable: true, description: 'Its place in the chain; null while it has none.' })
  position: number | null;
}

@ObjectType({ description: 'How far the log had come at a moment, signed. It stands in the log of a process too.' })
class AuditCheckpointInfo {
  @Field(() => BigInt, { description: 'The place of the last entry that it vouches for.' })
  position: number;

  @Field(() => String, { description: 'The hash there, as hexadecimal digits.' })
  hash: string;

  @Field(() => Date, { description: 'When it was signed.' })
  createdAt: Date;
}

@ObjectType({ description: 'Whether the audit log is as it was written.' })
class AuditVerification {
  @Field(() => Boolean, { description: 'Whether nothing is wrong.' })
  intact: boolean;

  @Field(() => AuditBadEntry, { nullable: true, description: 'The first thing that is wrong; null when all is well.' })
  firstBad: AuditBadEntry | null;

  @Field(() => Int, { description: 'Entries that were looked at and are good, up to the first that is not.' })
  checkedCount: number;

  @Field(() => Int, { description: 'Entries that a process without a key has written.' })
  unsignedCount: number;

  @Field(() => Int, { description: 'Entries that have no place in the chain yet.' })
  unsealedCount: number;

  @Field(() => AuditCheckpointInfo, {
    nullable: true,
    description:
      'The newest checkpoint: compare it with what was kept elsewhere, for what is behind it can be cut off.',
  })
  newestCheckpoint: AuditCheckpointInfo | null;
}

@Resolver(() => AuditEvent)
export class AuditResolver {
  private verifying: Promise<AuditReport> | undefined;

  constructor(private readonly verify: () => Promise<AuditReport>) {}

  @Auth(Role.USER, Role.OPERATIONS, Role.ADMIN)
  @Query(() => AuditEventConnection, {
    description:
      'Who did what, newest first: ADMIN sees all, OPERATIONS what was done to snapshots, instances and operations, ' +
      'and everyone what they did themselves. Reading it is written down too.',
  })
  async auditEvents(
    @Ctx() context: Context,
    @Args(() => AuditEventsArgs) { filter, ...args }: AuditEventsArgs,
  ): Promise<Connection<AuditEvent>> {
    await noteAuditRead(context, 'auditEvents');
    return context.reads.list(AUDIT_EVENTS, { ...args, filter: filter ? withRowIds(filter) : null });
  }

  @Auth(Role.ADMIN)
  @Query(() => AuditVerification, {
    description: 'Reads the whole audit log and checks every signature, the chain and the checkpoints.',
  })
  async auditVerification(@Ctx() context: Context): Promise<AuditVerification> {
    await noteAuditRead(context, 'auditVerification');
    const { checked, unsigned, unsealed, checkpoint, firstBad, intact } = await this.verifyOnce();
    return {
      intact,
      firstBad: firstBad && toBadEntry(firstBad),
      checkedCount: checked,
      unsignedCount: unsigned,
      unsealedCount: unsealed,
      newestCheckpoint: checkpoint && { ...checkpoint, hash: checkpoint.hash.toString('hex') },
    };
  }

  /** It reads everything: whoever asks while that goes on shares the answer. */
  private verifyOnce(): Promise<AuditReport> {
    this.verifying ??= this.verify().finally(() => (this.verifying = undefined));
    return this.verifying;
  }

  @FieldResolver(() => ID, { description: 'Opaque, global id.' })
  id(@Root() entry: AuditEvent): string {
    return toGlobalId('AuditEvent', entry.id);
  }

  @FieldResolver(() => User, { nullable: true, description: 'Who did it; null of the system and of strangers.' })
  async actor(@Root() { actorId }: AuditEvent, @Ctx() { reads }: Context): Promise<User | null> {
    return actorId === null ? null : reads.behind(User, actorId);
  }

  @FieldResolver(() => Role, {
    nullable: true,
    description:
      'The role in which they did it; null of the system and of strangers, and unless you are them or ADMIN.',
  })
  actorRole(@Root() entry: AuditEvent, @Ctx() context: Context): Role | null {
    return knowsOrigin(context, entry) ? entry.actorRole : null;
  }

  @FieldResolver(() => String, {
    nullable: true,
    description: 'The network address that the request came from; null unless you are the actor or ADMIN.',
  })
  address(@Root() entry: AuditEvent, @Ctx() context: Context): string | null {
    return knowsOrigin(context, entry) ? entry.address : null;
  }

  @FieldResolver(() => String, {
    nullable: true,
    description: 'The name that the program of the caller gives itself; null unless you are the actor or ADMIN.',
  })
  client(@Root() entry: AuditEvent, @Ctx() context: Context): string | null {
    return knowsOrigin(context, entry) ? entry.client : null;
  }

  @FieldResolver(() => AuditCredential, {
    nullable: true,
    description: 'By what the caller was known; null unless you are the actor or ADMIN.',
  })
  credential(@Root() entry: AuditEvent, @Ctx() context: Context): AuditCredential | null {
    const { credentialKind, credentialId } = entry;
    if (!knowsOrigin(context, entry) || credentialKind === null || credentialId === null) return null;
    const type = credentialKind === CredentialKind.SESSION ? 'Session' : 'ApiToken';
    return { kind: credentialKind, id: toGlobalId(type, credentialId) };
  }

  @FieldResolver(() => ID, { nullable: true, description: 'What it was done to, which may be gone.' })
  resourceId(@Root() { resourceType, resourceId }: AuditEvent): string | null {
    return resourceType && resourceId ? toGlobalId(resourceType as NodeType, resourceId) : null;
  }

  @FieldResolver(() => [AuditFieldChange], { description: 'The fields that were changed.' })
  changes(@Root() { changes }: AuditEvent): AuditFieldChange[] {
    return changes.map(({ field, before, after }) => ({ field, before: asText(before), after: asText(after) }));
  }

  @FieldResolver(() => BigInt, {
    nullable: true,
    description: 'Its place in the chain that seals the log, given within seconds; null until then.',
  })
  position(@Root() { position }: AuditEvent): number | null {
    return position;
  }
}

/** From where and as what people did something is for them and ADMIN; others are told who they are. */
function knowsOrigin({ actor }: Context, { actorId }: AuditEvent): boolean {
  return actor.role === Role.ADMIN || actor.userId === actorId;
}

function asText(value: unknown): string | null {
  return value === null || typeof value === 'string' ? value : JSON.stringify(value);
}

function toBadEntry({ fault, id, position }: BadEntry): AuditBadEntry {
  return { fault, id: id && toGlobalId('AuditEvent', id), position };
}
