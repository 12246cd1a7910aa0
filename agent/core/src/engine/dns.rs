//! What became of DNS queries: names of what was asked, of what was answered, and of what was not.

use netcause_common::dns::ResponseCode;

use super::Engine;
use crate::aggregate::dns::{AnsweredQuery, TimedOutQuery};
use crate::aggregate::totals::Totals;
use crate::enrich::policy::DnsNames;
use crate::ingest::{DnsAnswer, DnsUnanswered, dns};

impl Engine {
    pub(super) fn answered(&mut self, answer: &DnsAnswer<'_>) {
        self.details_received += 1;
        // What is no message of DNS is counted by its header, and has no name.
        let Ok(message) = dns::message(answer.message) else { return };
        // Notifications and updates (RFC 1996, 2136) ask for no name. A server that could not read the query may leave its
        // question out (RFC 1035 §4.1.1, format error).
        let asked = message.question.clone().or_else(|| dns::question(answer.query).ok());
        let Some(question) = asked.as_ref().filter(|_| message.opcode == 0) else { return };
        let local = answer.flow.local;
        self.names.observe_local(local);
        self.details.answered(&AnsweredQuery {
            local,
            workload: &self.names.local(local),
            question,
            rcode: message.rcode,
            duration: answer.duration,
            at: self.time.monotonic,
        });
        let is_resolved = ResponseCode::of(message.rcode) == ResponseCode::NoError;
        if is_resolved && self.details.policy() != DnsNames::Off {
            self.names.learn(local, &question.name, &message.addresses);
        }
    }

    pub(super) fn unanswered(&mut self, unanswered: &DnsUnanswered<'_>) {
        let DnsUnanswered { key, flow, queries, is_abandoned, is_refused, message } = unanswered;
        let mut delta = Totals::ZERO;
        let count = if *is_abandoned { &mut delta.dns.abandoned } else { &mut delta.dns.timeouts };
        *count = *queries;
        if *is_refused {
            delta.dns.refused = *queries;
        }
        self.model.count(flow, &delta, self.time.monotonic, self.names.is_contested(flow));
        if *is_abandoned {
            return;
        }
        if let Ok(question) = dns::question(message) {
            self.names.observe_local(key.local);
            let workload = &self.names.local(key.local);
            let at = self.time.monotonic;
            self.details.timed_out(&TimedOutQuery { local: key.local, workload, question: &question, at });
        }
    }
}
