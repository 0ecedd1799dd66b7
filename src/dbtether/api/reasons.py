"""The reasons of conditions and Events: one CamelCase word each, what it means, and what to do next."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Every reason that a status, an Event or an error of ours may carry."""

    READY = "Ready"
    CONNECTED = "Connected"
    PAUSED = "Paused"
    READ_ONLY_MODE = "ReadOnlyMode"
    WAITING = "Waiting"
    CREATING = "Creating"
    CHANGED = "Changed"
    RETRYING = "Retrying"
    INTERNAL_ERROR = "InternalError"

    INVALID_SPEC = "InvalidSpec"
    UNSUPPORTED_FIELD = "UnsupportedField"
    IMMUTABLE_FIELD = "ImmutableField"
    IMMUTABLE_DATABASE_PROPERTY = "ImmutableDatabaseProperty"
    TEMPLATE_NOT_ALLOWED = "TemplateNotAllowed"
    SCHEMA_NOT_FOUND = "SchemaNotFound"

    CLUSTER_NOT_FOUND = "ClusterNotFound"
    CLUSTER_NOT_CONNECTED = "ClusterNotConnected"
    DATABASE_NOT_FOUND = "DatabaseNotFound"
    DATABASE_NOT_READY = "DatabaseNotReady"
    GRANTS_NOT_READY = "GrantsNotReady"
    GRANTS_INCOMPLETE = "GrantsIncomplete"
    TOO_MANY_GRANTS = "TooManyGrants"
    STORAGE_NOT_FOUND = "StorageNotFound"
    STORAGE_NOT_READY = "StorageNotReady"
    LOCAL_STORAGE_NOT_ALLOWED = "LocalStorageNotAllowed"
    OBJECT_NOT_FOUND = "ObjectNotFound"
    OBJECT_EXISTS = "ObjectExists"
    BUCKET_NOT_FOUND = "BucketNotFound"
    STORAGE_ACCESS_DENIED = "StorageAccessDenied"
    STORAGE_CREDENTIALS_REFUSED = "StorageCredentialsRefused"
    CLOUD_IDENTITY_FAILED = "CloudIdentityFailed"
    WRONG_REGION = "WrongRegion"
    CLOCK_SKEW = "ClockSkew"
    STORAGE_FULL = "StorageFull"
    STORAGE_UNREACHABLE = "StorageUnreachable"
    STORAGE_BUSY = "StorageBusy"
    STORAGE_REFUSED = "StorageRefused"
    DELETE_REFUSED = "DeleteRefused"
    REFERENCE_NOT_ALLOWED = "ReferenceNotAllowed"
    PRIVILEGES_TOO_HIGH = "PrivilegesTooHigh"
    CLUSTERS_DIFFER = "ClustersDiffer"

    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105
    SECRET_INVALID = "SecretInvalid"  # noqa: S105
    SECRET_CONFLICT = "SecretConflict"  # noqa: S105
    SECRET_REFUSED = "SecretRefused"  # noqa: S105

    CONNECTION_FAILED = "ConnectionFailed"
    AUTHENTICATION_FAILED = "AuthenticationFailed"
    TLS_FAILED = "TlsFailed"
    CONNECTION_REFUSED = "ConnectionRefused"
    TOO_MANY_CONNECTIONS = "TooManyConnections"
    SERVER_OUT_OF_RESOURCES = "ServerOutOfResources"
    LOCK_NOT_AVAILABLE = "LockNotAvailable"
    OBJECT_IN_USE = "ObjectInUse"
    STATEMENT_TIMEOUT = "StatementTimeout"
    STATEMENT_REFUSED = "StatementRefused"
    SERVER_READ_ONLY = "ServerReadOnly"
    SERVER_CHANGED = "ServerChanged"
    SERVER_TOO_OLD = "ServerTooOld"
    MISSING_PRIVILEGES = "MissingPrivileges"

    DATABASE_NOT_OURS = "DatabaseNotOurs"
    ADOPTION_PLANNED = "AdoptionPlanned"
    ROLE_NOT_OURS = "RoleNotOurs"
    DATABASE_CONFLICT = "DatabaseConflict"
    ROLE_CONFLICT = "RoleConflict"
    OTHER_INSTALLATION = "OtherInstallation"
    ADOPTION_NOT_ALLOWED = "AdoptionNotAllowed"
    RELEASED = "Released"
    DATABASE_INVALID = "DatabaseInvalid"
    DATABASE_CLOSED = "DatabaseClosed"
    DATABASE_RENAMED = "DatabaseRenamed"
    DATABASE_IN_USE = "DatabaseInUse"

    EXTENSION_NOT_AVAILABLE = "ExtensionNotAvailable"
    EXTENSION_NOT_ALLOWED = "ExtensionNotAllowed"
    EXTENSION_NEEDS_PRELOAD = "ExtensionNeedsPreload"
    LOCALE_NOT_AVAILABLE = "LocaleNotAvailable"
    TEMPLATE_IN_USE = "TemplateInUse"
    LOGIN_FAILED = "LoginFailed"
    PASSWORD_REJECTED = "PasswordRejected"  # noqa: S105
    PASSWORD_ROTATED = "PasswordRotated"  # noqa: S105
    ROTATION_REFUSED = "RotationRefused"
    SECOND_LOGIN_RETIRING = "SecondLoginRetiring"
    SECOND_LOGIN_DROPPED = "SecondLoginDropped"
    DRIFT_DETECTED = "DriftDetected"

    DELETION_PROTECTED = "DeletionProtected"
    FORCE_DELETED = "ForceDeleted"
    ROLE_HAS_DEPENDENTS = "RoleHasDependents"
    IN_USE = "InUse"

    IN_LINE = "InLine"
    RUNNING = "Running"
    COMPLETED = "Completed"
    CANCELLED = "Cancelled"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    BACKUP_FAILED = "BackupFailed"
    BACKUP_NOT_ALLOWED = "BackupNotAllowed"
    BACKUPS_CHANGED = "BackupsChanged"
    BACKUP_OVERDUE = "BackupOverdue"
    BACKUP_MISSED = "BackupMissed"
    BACKUP_SKIPPED = "BackupSkipped"
    RETENTION_INCOMPLETE = "RetentionIncomplete"
    PRUNE_NOT_CONFIRMED = "PruneNotConfirmed"
    CLIENT_NOT_FOUND = "ClientNotFound"
    JOBS_NOT_CONFIGURED = "JobsNotConfigured"
    JOB_REFUSED = "JobRefused"
    SOURCE_DAMAGED = "SourceDamaged"
    DUMP_REFUSED = "DumpRefused"
    RESTORE_FAILED = "RestoreFailed"
    ALREADY_RESTORED = "AlreadyRestored"
    VERIFIED = "Verified"
    NOT_VERIFIED = "NotVerified"
    VERIFICATION_FAILED = "VerificationFailed"
    VERIFICATION_SKIPPED = "VerificationSkipped"
    TARGET_NOT_EMPTY = "TargetNotEmpty"
    TOO_MANY_OBJECTS = "TooManyObjects"
    ROLE_NOT_FOUND = "RoleNotFound"
    BACKUP_NOT_FOUND = "BackupNotFound"
    BACKUP_NOT_READY = "BackupNotReady"
    SOURCE_NOT_ALLOWED = "SourceNotAllowed"
    RESTORE_UNDONE = "RestoreUndone"
    RESTORE_EXPIRED = "RestoreExpired"
    REPLACED_DATABASE_DROPPED = "ReplacedDatabaseDropped"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a reason means and what a person does next, one sentence each."""

    meaning: str
    next_step: str


def _explain(meaning: str, next_step: str) -> Explanation:
    return Explanation(meaning, next_step)


EXPLANATIONS: Mapping[Reason, Explanation] = {
    Reason.READY: _explain("Everything is as the spec wants it.", "Nothing to do."),
    Reason.CONNECTED: _explain("The server answers and the admin can log in.", "Nothing to do."),
    Reason.PAUSED: _explain(
        "The annotation dbtether.io/paused is set, so nothing is changed.",
        "Remove the annotation to go on.",
    ),
    Reason.READ_ONLY_MODE: _explain(
        "The operator is in read-only mode and would have changed something.",
        "Look at what the message names; end the mode to have it done.",
    ),
    Reason.WAITING: _explain(
        "Something that this resource needs is not there yet.",
        "Look at the resource that the message names; this one goes on by itself.",
    ),
    Reason.CREATING: _explain("It is being made right now.", "Wait; it goes on by itself."),
    Reason.CHANGED: _explain(
        "Something on the server differed from the spec and was brought in line.",
        "Nothing to do; if nobody changed the spec, ask who changed the server.",
    ),
    Reason.RETRYING: _explain(
        "The last attempt failed for a cause that passes by itself.",
        "Wait; if it stays, look at the server that the message names.",
    ),
    Reason.INTERNAL_ERROR: _explain(
        "dbtether met something that it does not know.",
        "Look at its log for the traceback and report it; it is tried again slowly.",
    ),
    Reason.INVALID_SPEC: _explain(
        "A field of the spec breaks the API's rules.", "Correct the fields that the message names."
    ),
    Reason.UNSUPPORTED_FIELD: _explain(
        "A field asks for something that this version or this server cannot do.",
        "Remove the field, or update what the message names.",
    ),
    Reason.IMMUTABLE_FIELD: _explain(
        "A field that makes the resource's identity was changed.",
        "Put the old value back, or create another resource and delete this one.",
    ),
    Reason.IMMUTABLE_DATABASE_PROPERTY: _explain(
        "PostgreSQL fixes this property when a database is created.",
        "Put the old value back, or back the database up and restore it into a new one.",
    ),
    Reason.TEMPLATE_NOT_ALLOWED: _explain(
        "The database's template is not open to everybody, so its data may be somebody's, or it does not exist.",
        "Use template0 or template1, or have a DBA mark the template with IS_TEMPLATE.",
    ),
    Reason.SCHEMA_NOT_FOUND: _explain(
        "A schema that an extension is to go to does not exist.", "Add the schema to spec.schemas."
    ),
    Reason.CLUSTER_NOT_FOUND: _explain(
        "The DBCluster that clusterRef names does not exist.", "Create it, or correct spec.clusterRef.name."
    ),
    Reason.CLUSTER_NOT_CONNECTED: _explain(
        "The DBCluster is not Connected.", "Describe the DBCluster; this resource goes on once it is Connected."
    ),
    Reason.DATABASE_NOT_FOUND: _explain(
        "The Database that is referred to does not exist, or may not be seen.",
        "Create it, or correct the reference's name and namespace.",
    ),
    Reason.DATABASE_NOT_READY: _explain(
        "The Database that is referred to is not Ready.",
        "Describe the Database; this resource goes on once it is Ready.",
    ),
    Reason.GRANTS_NOT_READY: _explain(
        "The role that carries spec.additionalGrants is not made yet; the Database's own reconcile does it.",
        "Wait; if it stays, describe the Database.",
    ),
    Reason.GRANTS_INCOMPLETE: _explain(
        "The login works, but a table or schema of spec.additionalGrants is missing or out of the admin's reach.",
        "Create what the message names, or correct the spec; it is granted when the Database is looked at again.",
    ),
    Reason.TOO_MANY_GRANTS: _explain(
        "The users of one database ask for too many different sets of additionalGrants.",
        "Give users the same grants, or use `*`: users with equal grants share one role.",
    ),
    Reason.STORAGE_NOT_FOUND: _explain(
        "The BackupStorage that is referred to does not exist.", "Create it, or correct spec.storageRef.name."
    ),
    Reason.STORAGE_NOT_READY: _explain(
        "The BackupStorage is not Ready.", "Describe the BackupStorage and correct what it names."
    ),
    Reason.LOCAL_STORAGE_NOT_ALLOWED: _explain(
        "A BackupStorage with local names a folder that is not open to it.",
        "Name a folder under the root; in the operator, that is the path of the volume in the chart's localStorage.",
    ),
    Reason.OBJECT_NOT_FOUND: _explain(
        "The object is not in the store.", "List what is there, and correct the key that was given."
    ),
    Reason.OBJECT_EXISTS: _explain(
        "The key is taken in the store, and nothing is ever overwritten.", "Choose another key or template."
    ),
    Reason.BUCKET_NOT_FOUND: _explain(
        "The bucket, container or folder does not exist.", "Create it, or correct its name, region or endpoint."
    ),
    Reason.STORAGE_ACCESS_DENIED: _explain(
        "The store denies what was asked.",
        "Give the credentials the rights to write, read, list and delete; docs/cloud-identity.md has the policies.",
    ),
    Reason.STORAGE_CREDENTIALS_REFUSED: _explain(
        "The store does not accept the credentials.", "Correct them in the Secret of spec.credentialsSecretRef."
    ),
    Reason.CLOUD_IDENTITY_FAILED: _explain(
        "No Secret is named, and the workload's cloud identity gave no credentials.",
        "Set the identity up as in docs/cloud-identity.md, or name a Secret with keys.",
    ),
    Reason.WRONG_REGION: _explain("The bucket is in another region.", "Correct spec.s3.region."),
    Reason.CLOCK_SKEW: _explain(
        "The clocks of the machine and the store differ too much.", "Synchronise the clock of the node."
    ),
    Reason.STORAGE_FULL: _explain(
        "The store has no room left, or a quota is used up.", "Make room, or raise the quota."
    ),
    Reason.STORAGE_UNREACHABLE: _explain(
        "The store cannot be reached.", "Check the endpoint, name resolution, network policies and TLS."
    ),
    Reason.STORAGE_BUSY: _explain("The store is overloaded or failing.", "Nothing, unless it stays so."),
    Reason.STORAGE_REFUSED: _explain("The store refused a request.", "Look into the store's own log."),
    Reason.DELETE_REFUSED: _explain(
        "The store refuses to delete objects: backups work, retention does not.",
        "Give the right to delete, or leave expiry to the store's own lifecycle rules.",
    ),
    Reason.REFERENCE_NOT_ALLOWED: _explain(
        "The target of a reference does not allow this namespace, or does not exist.",
        "Ask its owner to add the namespace to allowedNamespaces; a role: name another, or have adoptable list it.",
    ),
    Reason.PRIVILEGES_TOO_HIGH: _explain(
        "The DBCluster's maxPrivileges allows this namespace less.",
        "Ask for lower privileges, or ask the platform team to raise the limit.",
    ),
    Reason.CLUSTERS_DIFFER: _explain(
        "The databases of one user are on different DBClusters.", "Create one DatabaseUser for each DBCluster."
    ),
    Reason.SECRET_NOT_FOUND: _explain(
        "The Secret that is referred to does not exist, or may not be read.",
        "Create it in a namespace that the operator may read, or correct the reference.",
    ),
    Reason.SECRET_INVALID: _explain(
        "The Secret lacks a key or holds a value that cannot be used.", "Add the keys that the message names."
    ),
    Reason.SECRET_CONFLICT: _explain(
        "A Secret of the wanted name exists and belongs to somebody else.",
        "Choose another spec.secret.name, or set spec.secret.onConflict to Adopt or Merge.",
    ),
    Reason.SECRET_REFUSED: _explain(
        "The API server does not store a Secret that the operator writes.",
        "Look at the namespace's ResourceQuotas and admission policies, and at the operator's role.",
    ),
    Reason.CONNECTION_FAILED: _explain(
        "The server cannot be reached.", "Check endpoint, port, firewall and DNS; it is tried again by itself."
    ),
    Reason.AUTHENTICATION_FAILED: _explain(
        "The server refuses the admin's login.", "Correct username and password in the credentials Secret."
    ),
    Reason.TLS_FAILED: _explain(
        "No protected connection could be made as spec.tls wants it.",
        "Check tls.mode, the CA and the name in the server's certificate.",
    ),
    Reason.CONNECTION_REFUSED: _explain(
        "The server answers, but does not let the admin in.",
        "Look up the SQLSTATE in the message and correct its cause.",
    ),
    Reason.TOO_MANY_CONNECTIONS: _explain(
        "The server has no connection left.", "Close sessions or raise max_connections; it is tried again by itself."
    ),
    Reason.SERVER_OUT_OF_RESOURCES: _explain(
        "The server has no disk or memory left.", "Give it some; it is tried again by itself."
    ),
    Reason.LOCK_NOT_AVAILABLE: _explain(
        "Somebody holds a lock on what is to be changed, and nobody shall queue behind us.",
        "Wait; if it stays, look for long transactions in pg_stat_activity.",
    ),
    Reason.OBJECT_IN_USE: _explain(
        "A session uses what is to be changed or dropped.", "Wait; if it stays, close the sessions that use it."
    ),
    Reason.STATEMENT_TIMEOUT: _explain(
        "A statement took too long and was ended.", "Wait; if it stays, look at the server's load and locks."
    ),
    Reason.STATEMENT_REFUSED: _explain(
        "The server refused a statement.", "Read its own words in the message; correct the spec or the server."
    ),
    Reason.SERVER_READ_ONLY: _explain(
        "The server takes no writes: a replica, or a failover under way.",
        "Point spec.endpoint to the writer; a failover passes by itself.",
    ),
    Reason.SERVER_CHANGED: _explain(
        "The endpoint leads to another server than before.",
        "Correct the endpoint, or confirm the new server with the annotation that the message gives.",
    ),
    Reason.SERVER_TOO_OLD: _explain(
        "The server's version is not supported.", "Upgrade the server to a version that PostgreSQL maintains."
    ),
    Reason.MISSING_PRIVILEGES: _explain(
        "The admin's login lacks a privilege.", "Let a DBA run the statements of status.missingPrivileges."
    ),
    Reason.DATABASE_NOT_OURS: _explain(
        "A database of this name exists and is not marked for this resource.",
        "Choose another databaseName, or set adopt and let the DBCluster's adoptable allow it.",
    ),
    Reason.ADOPTION_PLANNED: _explain(
        "The database would be adopted, and driftPolicy Report only lists in status.drift what that changes.",
        "Read status.drift; set driftPolicy: Repair to have exactly that done.",
    ),
    Reason.ROLE_NOT_OURS: _explain(
        "A role of this name exists and is not marked for this resource.",
        "Choose another username, or set adopt and let the DBCluster's adoptable allow it.",
    ),
    Reason.DATABASE_CONFLICT: _explain(
        "Another Database resource names the same database and came first.",
        "Choose another databaseName, or delete one of the two.",
    ),
    Reason.ROLE_CONFLICT: _explain(
        "Another DatabaseUser names the same login and came first.",
        "Choose another username, or delete one of the two.",
    ),
    Reason.OTHER_INSTALLATION: _explain(
        "The object on the server is marked by another installation of dbtether.",
        "Choose another name, or have a DBA take the marker away as the message says.",
    ),
    Reason.ADOPTION_NOT_ALLOWED: _explain(
        "spec.adopt asks for an object that this namespace may not take over, or that nobody may.",
        "Ask the platform team for the entry in spec.adoptable that the message names, or choose another name.",
    ),
    Reason.RELEASED: _explain(
        "What this resource had belongs to the one that its annotation dbtether.io/release-to names.",
        "Delete this resource; nothing that it gave away is dropped.",
    ),
    Reason.DATABASE_INVALID: _explain(
        "A DROP of the database was interrupted: it cannot be used any more.",
        "Run the statement of the message; the database is then made anew, empty.",
    ),
    Reason.DATABASE_CLOSED: _explain(
        "Somebody closed the database to connections.", "Run the statement of the message when it shall be open again."
    ),
    Reason.DATABASE_RENAMED: _explain(
        "Somebody renamed the database on the server; one made anew under its name would be empty.",
        "Run the statement of the message.",
    ),
    Reason.DATABASE_IN_USE: _explain(
        "A superuser is connected to the database, and the admin cannot end that.", "Close that session."
    ),
    Reason.EXTENSION_NOT_AVAILABLE: _explain(
        "The server has no such extension.", "Install its package on the server, or remove it from spec.extensions."
    ),
    Reason.EXTENSION_NOT_ALLOWED: _explain(
        "The extension is not trusted and the DBCluster does not allow it.",
        "Ask the platform team to add it to the DBCluster's allowedExtensions.",
    ),
    Reason.EXTENSION_NEEDS_PRELOAD: _explain(
        "The extension works only when the server loads it at start.",
        "Add it to shared_preload_libraries and restart the server.",
    ),
    Reason.LOCALE_NOT_AVAILABLE: _explain(
        "The server does not have the locale that a database shall sort by.",
        "Have it installed on the server, or choose one that the server has, as the message says.",
    ),
    Reason.TEMPLATE_IN_USE: _explain(
        "Somebody is connected to the template database.",
        "Use template0, or close the sessions; it is tried again by itself.",
    ),
    Reason.LOGIN_FAILED: _explain(
        "The login that was just set up cannot log in.", "Check pg_hba.conf and what the message names."
    ),
    Reason.PASSWORD_REJECTED: _explain(
        "The server's policy refuses the password; where it was to replace one, the old one stays in force.",
        "Raise spec.password.length, give a password that it takes, or have the policy take SCRAM verifiers.",
    ),
    Reason.PASSWORD_ROTATED: _explain(
        "The password was replaced, and the Secret has the new one.",
        "Nothing to do where applications read the Secret again; else restart them.",
    ),
    Reason.ROTATION_REFUSED: _explain(
        "A password from spec.passwordSecretRef is yours to change, so dbtether does not replace it.",
        "Write the new password into that Secret.",
    ),
    Reason.SECOND_LOGIN_RETIRING: _explain(
        "The spec no longer asks for two logins that take turns; the second one goes after a while.",
        "Have applications read the Secret again before the time of status.secondLoginUntil.",
    ),
    Reason.SECOND_LOGIN_DROPPED: _explain(
        "The second login, which the Secret had not named for a while, was dropped.", "Nothing to do."
    ),
    Reason.DRIFT_DETECTED: _explain(
        "Something was changed by hand on the server.",
        "Look at status.drift; set driftPolicy: Repair to have it undone.",
    ),
    Reason.DELETION_PROTECTED: _explain(
        "deletionProtection keeps the database.",
        "Turn it off, or set the annotation dbtether.io/confirm-delete to the database's name.",
    ),
    Reason.FORCE_DELETED: _explain(
        "The resource was deleted by force, without the server.",
        "Remove what the message names by hand, should the server come back.",
    ),
    Reason.ROLE_HAS_DEPENDENTS: _explain(
        "The role owns objects or has grants that could not be handed over.",
        "Look at the objects that the message names and drop or reassign them.",
    ),
    Reason.IN_USE: _explain(
        "Other resources refer to this one, so it cannot go yet.", "Delete the resources that the message names first."
    ),
    Reason.IN_LINE: _explain(
        "As many backups and restores of the DBCluster run as may at once, or another restore has the same target.",
        "Wait; they start in the order of creation.",
    ),
    Reason.RUNNING: _explain("The run is under way.", "Nothing to do; the message says how far it is."),
    Reason.COMPLETED: _explain("The run is done.", "Nothing to do."),
    Reason.CANCELLED: _explain(
        "spec.cancel ended the run; nothing of a backup is visible, and the target of a restore is as it was.",
        "Nothing; to run it again, take spec.cancel off and annotate as the message says.",
    ),
    Reason.DEADLINE_EXCEEDED: _explain(
        "The run took longer than spec.activeDeadline.", "Raise it, and annotate as the message says to run it again."
    ),
    Reason.BACKUP_FAILED: _explain(
        "A backup ended without a complete object; nothing of it is visible in the storage.",
        "Read the message: pg_dump's or the storage's own words. What may pass is tried again by itself.",
    ),
    Reason.BACKUP_OVERDUE: _explain(
        "The last good backup of the schedule is older than spec.alertAfter.",
        "Look at the schedule's Backups that failed, or at why none was started.",
    ),
    Reason.BACKUP_MISSED: _explain(
        "A backup was due while nobody could start it, longer ago than spec.startingDeadline.",
        "Nothing: the next one is started in time. Raise spec.startingDeadline to make up for longer outages.",
    ),
    Reason.BACKUP_SKIPPED: _explain(
        "A backup was due while the one before was still running.",
        "Look at why it takes so long, or schedule backups less often.",
    ),
    Reason.RETENTION_INCOMPLETE: _explain(
        "Backups of the schedule that no rule keeps are still there.",
        "Do what the message says; the condition Retained has its reason. New backups are taken meanwhile.",
    ),
    Reason.PRUNE_NOT_CONFIRMED: _explain(
        "More than half of many backups would go at once; nothing was deleted.",
        "Look at spec.retention; if it is meant, set the annotation dbtether.io/confirm-prune to the number.",
    ),
    Reason.BACKUPS_CHANGED: _explain(
        "A backup was changed or deleted while retention decided; nothing was deleted.",
        "Nothing: the next round decides anew. If it stays so, find out who else deletes there.",
    ),
    Reason.BACKUP_NOT_ALLOWED: _explain(
        "The backup's login may not read something in the database, or row security hides rows from it.",
        "Grant it what the message names, or have the object's owner hand it to the database's admins.",
    ),
    Reason.CLIENT_NOT_FOUND: _explain(
        "The machine has no client programs of the server's major version.",
        "Install the package that the message names, or use the operator's image, which has them all.",
    ),
    Reason.JOBS_NOT_CONFIGURED: _explain(
        "The operator was not told which Pods its Jobs get.",
        "Install it by its chart or plain manifests, or give it the option --job-template.",
    ),
    Reason.JOB_REFUSED: _explain(
        "The API server refused a Job of the operator's, or its Secret.",
        "Look at the ResourceQuotas and admission policies of the operator's namespace; it is tried again.",
    ),
    Reason.SOURCE_DAMAGED: _explain(
        "The object is not what its manifest says, or is cut off; nothing was restored.",
        "Restore an older backup, and find out who changed the object.",
    ),
    Reason.DUMP_REFUSED: _explain(
        "The dump has a statement that pg_dump does not write, such as a COMMIT or a SET ROLE.",
        "Find out who made the dump; take it anew with pg_dump, in a form that the message allows.",
    ),
    Reason.RESTORE_FAILED: _explain(
        "The restore ended before it was complete; the target is as it was.",
        "Read the message; create another Restore once its cause is gone.",
    ),
    Reason.ALREADY_RESTORED: _explain(
        "This restore was already done once.",
        "Nothing to do; to insist, set the annotation dbtether.io/run-again as the message says.",
    ),
    Reason.VERIFIED: _explain(
        "The backup was restored into a throwaway database, compared with what was dumped, and dropped again.",
        "Nothing to do.",
    ),
    Reason.NOT_VERIFIED: _explain(
        "No backup of the schedule has been through a restore drill yet.",
        "Nothing: status.nextVerification tells when the first drill is; it needs a good backup.",
    ),
    Reason.VERIFICATION_FAILED: _explain(
        "The last restore drill of the schedule failed, or gets to no end: its backups may be worth nothing.",
        "Do what the message says; the Restore that it names tells more. The next drill tries again.",
    ),
    Reason.VERIFICATION_SKIPPED: _explain(
        "A restore drill was due while the one before was still running, or before there was a good backup.",
        "Look at why there is none, or why the drill takes so long; or verify less often.",
    ),
    Reason.TARGET_NOT_EMPTY: _explain(
        "The target database has objects already.",
        "Restore into an empty database, or set spec.onConflict to drop or overwrite.",
    ),
    Reason.TOO_MANY_OBJECTS: _explain(
        "A restore in one transaction would need more locks than the server has room for.",
        "Have max_locks_per_transaction raised, or set spec.onConflict to drop.",
    ),
    Reason.ROLE_NOT_FOUND: _explain(
        "Policies of the dump name roles that the server does not have; without them rows would show that should not.",
        "Create the roles that the message names, then another Restore.",
    ),
    Reason.BACKUP_NOT_FOUND: _explain(
        "The Backup that is referred to does not exist, may not be seen, or a Database has no complete one.",
        "Correct the reference, or take a backup; this resource goes on by itself.",
    ),
    Reason.BACKUP_NOT_READY: _explain(
        "The Backup that is referred to is not complete.", "Describe the Backup; this resource goes on with it."
    ),
    Reason.SOURCE_NOT_ALLOWED: _explain(
        "The object is not there, or this namespace may not restore it.",
        "Correct the path; ask for consent in the Database's allowedNamespaces, or for a prefix in importPrefixes.",
    ),
    Reason.RESTORE_UNDONE: _explain(
        "The database from before a restore is back in its place.",
        "Nothing to do; the one that was restored is kept for a while.",
    ),
    Reason.RESTORE_EXPIRED: _explain(
        "The database from before the restore is not kept any more, so there is nothing to go back to.",
        "Remove the annotation dbtether.io/undo-restore; restore an older backup instead.",
    ),
    Reason.REPLACED_DATABASE_DROPPED: _explain(
        "A database that a restore had replaced was kept for its time, and is dropped now.", "Nothing to do."
    ),
}
