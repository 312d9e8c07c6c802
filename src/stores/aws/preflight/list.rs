//! Every trial with its statement, in the order in which they run. Sections are those of the
//! Secrets Manager contract.

use super::{Experiment, dates, labels, reach, tokens};
use crate::model::finding::Statement;

const STOP: &str = "do not use keyferry in this account, and tell its makers";

/// Trials that leave the scratch secret in order.
pub const MAIN: &[Experiment] = &[
    Experiment {
        statement: Statement {
            name: "name-taken",
            words: "a secret's name belongs to whoever creates it first; a second create is refused with \
                    ResourceExistsException",
            section: "3, token rules",
            because: "of several replicas one makes the secret, and the others look whose it is",
            otherwise: "two replicas may both believe that they made the secret: tell keyferry's makers; run one replica",
        },
        run: tokens::name_taken,
    },
    Experiment {
        statement: Statement {
            name: "first-version",
            words: "the first version of a secret becomes AWSCURRENT whatever labels are asked for",
            section: "3, labels",
            because: "a first value is therefore logged in with before it is put, and claims are never put first",
            otherwise: "keyferry promotes the first value itself then, which is safe; tell its makers",
        },
        run: labels::first_version,
    },
    Experiment {
        statement: Statement {
            name: "put-beside",
            words: "a put with labels leaves AWSCURRENT where it is",
            section: "3, labels",
            because: "claims and candidates are put beside the value that consumers read",
            otherwise: "consumers would read claims and unproved values: do not use keyferry in this account, and tell \
                        its makers",
        },
        run: labels::put_beside,
    },
    Experiment {
        statement: Statement {
            name: "label-forms",
            words: "labels as keyferry writes them, with colons, dots and tildes, are taken and come back as written",
            section: "2, limits",
            because: "what is live and ours, and which attempts are open, stands in labels",
            otherwise: STOP,
        },
        run: labels::forms,
    },
    Experiment {
        statement: Statement {
            name: "token-same-value",
            words: "a put that is repeated under its token succeeds and does not apply its labels again",
            section: "3, token rules",
            because: "a put whose answer was lost is sent again, and must not take labels back from where they went",
            otherwise: STOP,
        },
        run: tokens::same_value,
    },
    Experiment {
        statement: Statement {
            name: "token-other-value",
            words: "another value under a used token is refused with ResourceExistsException",
            section: "3, token rules",
            because: "of several replicas one wins a claim, and a slot that is filled or closed stays so",
            otherwise: "two replicas may both win a claim: do not use keyferry in this account, and tell its makers",
        },
        run: tokens::other_value,
    },
    Experiment {
        statement: Statement {
            name: "value-kept",
            words: "what a version holds never changes",
            section: "3",
            because: "a value that was logged in with is the value that is published",
            otherwise: STOP,
        },
        run: tokens::value_kept,
    },
    Experiment {
        statement: Statement {
            name: "swap-wrong-version",
            words: "a label move that names a version which does not hold the label is refused and changes nothing",
            section: "3, compare-and-swap",
            because: "a promotion must not overwrite what another replica or a person published meanwhile",
            otherwise: "a late promotion may publish an old value: do not use keyferry in this account, and tell its \
                        makers",
        },
        run: labels::swap_wrong,
    },
    Experiment {
        statement: Statement {
            name: "swap-unnamed-version",
            words: "a label that a version holds does not move unless RemoveFromVersionId names that version",
            section: "3, compare-and-swap",
            because: "a first value is promoted only while nothing is current",
            otherwise: STOP,
        },
        run: labels::swap_absent,
    },
    Experiment {
        statement: Statement {
            name: "detach-once",
            words: "taking a label off a version that does not hold it is refused",
            section: "3, compare-and-swap",
            because: "taking AWSPREVIOUS off the old version is the gate before it is revoked",
            otherwise: "a credential that somebody rolled back to may be revoked: do not use keyferry in this account, \
                        and tell its makers",
        },
        run: labels::detach,
    },
    Experiment {
        statement: Statement {
            name: "swap-code",
            words: "a refused label move is answered InvalidParameterException",
            section: "3, compare-and-swap",
            because: "keyferry tells a lost race from a wrong request by it",
            otherwise: "a lost race would be shown as `blocked` and never looked at again by itself; nothing is \
                        overwritten; tell keyferry's makers the code",
        },
        run: labels::swap_code,
    },
    Experiment {
        statement: Statement {
            name: "previous-follows",
            words: "AWSPREVIOUS comes to the version that AWSCURRENT leaves",
            section: "3, labels",
            because: "consumers fall back to it during the overlap, and taking it off starts the revocation",
            otherwise: STOP,
        },
        run: labels::previous_follows,
    },
    Experiment {
        statement: Statement {
            name: "pending-stays",
            words: "AWSPENDING and labels of ours stay on a version that is promoted",
            section: "3, labels",
            because: "the lease of the published credential must not get lost; AWSPENDING is taken off explicitly",
            otherwise: "a published credential may be taken for one that is not ours: do not use keyferry in this \
                        account, and tell its makers",
        },
        run: labels::pending_stays,
    },
    Experiment {
        statement: Statement {
            name: "deprecated-listed",
            words: "a version without labels is listed with IncludeDeprecated, and is not described",
            section: "3, labels",
            because: "the number of an attempt is one more than the highest that is listed",
            otherwise: "a closed attempt may be tried again under its old id: do not use keyferry in this account, and \
                        tell its makers",
        },
        run: labels::deprecated,
    },
    Experiment {
        statement: Statement {
            name: "changed-by-put",
            words: "LastChangedDate moves when a version is put that does not become current",
            section: "4",
            because: "what was changed a moment ago is not judged by a listing that may be older",
            otherwise: "keyferry may act on what it sees sooner than meant; tell its makers before you use it",
        },
        run: dates::changed_by_put,
    },
    Experiment {
        statement: Statement {
            name: "changed-by-label",
            words: "LastChangedDate moves when a label is moved or taken off",
            section: "4",
            because: "the wait between taking AWSPREVIOUS off and revoking counts from it",
            otherwise: "an old credential may be revoked sooner after its retirement than meant; tell keyferry's makers \
                        before you use it",
        },
        run: dates::changed_by_label,
    },
    Experiment {
        statement: Statement {
            name: "changed-by-tag",
            words: "LastChangedDate moves when a tag is set",
            section: "4",
            because: "the overlap after a person said what to go on from (`keyferry:base`) counts from it",
            otherwise: "after `resume` or `rollback` the overlap may be shorter than declared: write the tag as \
                        `<version>@<seconds>`, and tell keyferry's makers",
        },
        run: dates::changed_by_tag,
    },
    Experiment {
        statement: Statement {
            name: "signature-expires",
            words: "a write that was signed ten minutes ago is refused; a signature lives about five minutes",
            section: "rotation protocol, late promotion",
            because: "a replica that slept can't promote late: AWS refuses the old signature",
            otherwise: "a replica that slept may publish late: run one replica only, and tell keyferry's makers",
        },
        run: dates::signature,
    },
    Experiment {
        statement: Statement {
            name: "read-candidate",
            words: "a candidate can be read by its version id and AWSPENDING",
            section: "6, smallest policy",
            because: "a candidate whose process died is logged in with by the next one",
            otherwise: STOP,
        },
        run: reach::candidate,
    },
    Experiment {
        statement: Statement {
            name: "current-unreadable",
            words: "a policy that allows reading only AWSPENDING and kf-open labels denies AWSCURRENT by whatever name",
            section: "6, smallest policy",
            because: "keyferry promises that it does not read what consumers read",
            otherwise: "the policy does not keep keyferry from reading AWSCURRENT: deny secretsmanager:GetSecretValue \
                        where secretsmanager:VersionStage is absent",
        },
        run: reach::current,
    },
    Experiment {
        statement: Statement {
            name: "describe-needs-no-key",
            words: "DescribeSecret needs no right to the KMS key",
            section: "4",
            because: "`status` works for roles that may not decrypt",
            otherwise: "give the roles that only look kms:Decrypt as well",
        },
        run: reach::without_key,
    },
    Experiment {
        statement: Statement {
            name: "seen-by-describe",
            words: "a write is seen by DescribeSecret within a minute",
            section: "4, consistency",
            because: "no read may be older than settle (15 min) when something is revoked",
            otherwise: STOP,
        },
        run: reach::described,
    },
    Experiment {
        statement: Statement {
            name: "seen-by-versions",
            words: "a write is seen by ListSecretVersionIds within a minute",
            section: "4, consistency",
            because: "no read may be older than settle (15 min) when an attempt is closed",
            otherwise: STOP,
        },
        run: reach::versions,
    },
    Experiment {
        statement: Statement {
            name: "seen-by-list",
            words: "a write is seen by ListSecrets within five minutes",
            section: "4, consistency",
            because: "a pass over the fleet is one listing; what needs no look is decided on it",
            otherwise: "declare `discovery = \"declared\"`, and tell keyferry's makers",
        },
        run: reach::listed,
    },
    Experiment {
        statement: Statement {
            name: "label-count",
            words: "a secret may have twenty labels over all its versions",
            section: "2, limits",
            because: "live credentials, open attempts and AWS's own labels stand on one secret together",
            otherwise: "an attempt may be refused for want of a label; nothing is lost; tell keyferry's makers the number",
        },
        run: labels::count,
    },
];

/// Trials after which there is nothing more to do with the scratch secret, and what was noted on
/// the way.
pub const LAST: &[Experiment] = &[
    Experiment {
        statement: Statement {
            name: "date-header",
            words: "every answer has a Date, which goes as this host's monotonic clock does",
            section: "rotation protocol, times",
            because: "ages and signatures count from AWS's date, never from this host's wall clock",
            otherwise: "something between this host and AWS changes answers, or this host's clock does not go evenly: \
                        mend that before you use keyferry here",
        },
        run: dates::date_header,
    },
    Experiment {
        statement: Statement {
            name: "throttling-code",
            words: "a call over a quota is answered ThrottlingException",
            section: "2, requests a second",
            because: "a throttled write is sent again, a refused one is not",
            otherwise: "tell keyferry's makers the code",
        },
        run: reach::throttling,
    },
    Experiment {
        statement: Statement {
            name: "scheduled-refuses",
            words: "a secret that is scheduled for deletion takes no version and moves no label",
            section: "5, deletion",
            because: "a claim is refused then, so that nothing is made at the vendor that could not be stored",
            otherwise: "keyferry may go on rotating a secret that is about to go: retire its declaration first",
        },
        run: tokens::scheduled,
    },
];
