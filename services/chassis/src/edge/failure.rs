//! Responses and log lines for endpoints that fail. A client that repeats such a request does not flood the log.

use std::any::Any;

use poem::error::{MethodNotAllowedError, NotFoundError, ParsePathError};
use poem::{PathPattern, Response};

use crate::problem::{Code, Problem};
use crate::telemetry::LogLimit;

/// The log lines about failures of one port.
#[derive(Debug, Default)]
pub(crate) struct FailureLog {
    panics: LogLimit,
    errors: LogLimit,
}

impl FailureLog {
    /// Logs the panic of an endpoint. The client learns only that the request failed.
    pub(crate) fn panicked(&self, panic: &(dyn Any + Send)) -> Problem {
        if let Some(left_out) = self.panics.admit() {
            tracing::error!(panic = panic_text(panic), left_out, "an endpoint panicked");
        }
        internal()
    }

    /// The response to an error of an endpoint. A response that the endpoint made itself stays as it is; every other error gets a
    /// code.
    pub(crate) fn response(&self, error: poem::Error) -> Response {
        if error.is_from_response() || error.is::<Problem>() {
            return error.into_response();
        }
        let pattern = error.data::<PathPattern>().cloned();
        let problem = problem_of(&error);
        if problem.code.status() >= 500
            && let Some(left_out) = self.errors.admit()
        {
            // The log has the reason. The client learns only that the request failed.
            tracing::error!(error = &error as &dyn std::error::Error, left_out, "a request failed");
        }
        let mut response = problem.into_response();
        if let Some(pattern) = pattern {
            response.set_data(pattern);
        }
        response
    }
}

/// The path is known, and takes other methods.
pub(crate) fn bad_method() -> Problem {
    Problem::new(Code::BadMethod, "this path does not support this method")
}

fn internal() -> Problem {
    Problem::new(Code::Internal, "internal error")
}

fn problem_of(error: &poem::Error) -> Problem {
    let code = if error.is::<NotFoundError>() {
        return Problem::new(Code::NoRoute, "there is nothing at this path");
    } else if error.is::<MethodNotAllowedError>() {
        return bad_method();
    } else if error.is::<ParsePathError>() {
        Code::BadPath
    } else {
        match error.status().as_u16() {
            401 => Code::Unauthenticated,
            403 => Code::Forbidden,
            404 => Code::NoRoute,
            405 => Code::BadMethod,
            408 => Code::Timeout,
            412 => Code::RevMismatch,
            413 => Code::TooLarge,
            414 => Code::UriTooLong,
            426 => Code::UpgradeRequired,
            429 => Code::SlowDown,
            431 => Code::HeadersTooLarge,
            400..500 => Code::BadParameter,
            503 => Code::Unavailable,
            _ => Code::Internal,
        }
    };
    if code.status() < 500 {
        return Problem::new(code, error.to_string());
    }
    if code == Code::Unavailable { Problem::new(code, "the service is unavailable") } else { internal() }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("the panic has no message")
}
