//! Scripted answers: what a test wants the server to say instead of what its objects are.

use std::io;

use serde_json::{Value, json};

use super::http::{Reply, Request};

/// A part of an answer's body.
#[derive(Clone)]
pub enum Step {
    /// This text.
    Text(String),
    /// Nothing more comes, and the connection stays.
    Hang,
    /// The connection ends in the middle of the answer.
    Cut,
    /// Texts without end, by their number.
    Endless(fn(u64) -> String),
}

/// What is answered to one request.
#[derive(Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// The body.
    pub steps: Vec<Step>,
    /// The server answers for itself, and the other fields are not used.
    pub is_unscripted: bool,
}

/// Decides what is answered to a request; with how many there were before for the same path.
pub type Script = dyn Fn(&Request, usize) -> Answer + Send + Sync;

impl Answer {
    /// What the server itself would answer.
    #[must_use]
    pub fn unscripted() -> Self {
        Self { is_unscripted: true, ..Self::steps([]) }
    }

    /// A body in steps.
    #[must_use]
    pub fn steps(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { status: 200, retry_after: None, steps: steps.into_iter().collect(), is_unscripted: false }
    }

    /// A whole answer.
    #[must_use]
    pub fn json(value: &Value) -> Self {
        Self::steps([Step::Text(value.to_string())])
    }

    /// Events of a watch, a line each, and what follows them.
    #[must_use]
    pub fn events(events: &[Value], then: Step) -> Self {
        let lines = events.iter().map(|event| Step::Text(format!("{event}\n")));
        Self::steps(lines.chain([then]))
    }

    /// A watch on which nothing happens.
    #[must_use]
    pub fn quiet() -> Self {
        Self::steps([Step::Hang])
    }

    /// A refusal with a `Status`.
    #[must_use]
    pub fn status(code: u16, message: &str) -> Self {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message});
        Self { status: code, ..Self::json(&status) }
    }

    /// Writes it; `false` when the server has to answer for itself.
    pub(crate) fn write(self, reply: &mut Reply) -> io::Result<bool> {
        if self.is_unscripted {
            return Ok(false);
        }
        reply.begin(self.status, self.retry_after)?;
        for step in self.steps {
            match step {
                Step::Text(text) => reply.chunk(text.as_bytes())?,
                Step::Hang => reply.hang(),
                Step::Cut => return Err(reply.cut()),
                Step::Endless(text) => {
                    (0..u64::MAX).try_for_each(|number| reply.chunk(text(number).as_bytes()))?;
                }
            }
        }
        Ok(true)
    }
}
