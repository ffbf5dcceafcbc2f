//! What a server says of itself by gRPC's reflection: its services, and the types of their messages.

mod messages;

use std::collections::{BTreeSet, VecDeque};

use micro::client::{CallOptions, Outgoing};
use micro::{Client, Code, Error, Proto, Result, Streaming};
use prost::Message as _;
use prost_reflect::prost_types::FileDescriptorProto;
use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};

use messages::{Answer, Asked, Question, Said};

/// Names under which the same protocol goes.
const PATHS: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];
/// Services of the protocol itself and of health, which no user wrote.
const STANDARD: &str = "grpc.";
/// Files that one service may need.
const MAX_FILES: usize = 1_000;

/// A conversation with a server about itself.
pub(crate) struct Reflection {
    questions: Outgoing<Proto<Question>>,
    answers: Streaming<Proto<Answer>>,
    services: Vec<String>,
}

impl Reflection {
    /// Asks a server for its services; `None` where it does not know reflection.
    pub(crate) async fn begin(client: &Client, terms: &CallOptions) -> Result<Option<Self>> {
        for path in PATHS {
            match Self::at(client, path, terms.clone()).await {
                Err(error) if error.code() == Code::Unimplemented => {}
                begun => return begun.map(Some),
            }
        }
        Ok(None)
    }

    async fn at(client: &Client, path: &str, terms: CallOptions) -> Result<Self> {
        let (questions, answers) = client.open("", path).options(terms).await?;
        let mut begun = Self { questions, answers, services: Vec::new() };
        match begun.ask(Asked::ListServices(String::new())).await? {
            Said::Services(listed) => {
                begun.services = listed.services.into_iter().map(|service| service.name).collect();
                Ok(begun)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Full names of the services that a user wrote, in the server's order.
    pub(crate) fn services(&self) -> impl Iterator<Item = &str> {
        self.services.iter().map(String::as_str).filter(|name| !name.starts_with(STANDARD))
    }

    /// The method that `endpoint` means: a path, a full name, or `Type.Method` of any package. `None` where there is none.
    pub(crate) async fn method(&mut self, endpoint: &str) -> Result<Option<MethodDescriptor>> {
        let name = endpoint.trim_start_matches('/').replace('/', ".");
        let Some((wanted, method)) = name.rsplit_once('.') else { return Ok(None) };
        let ends = |full: &&String| {
            full.strip_suffix(wanted).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let exact = self.services.iter().find(|full| *full == wanted);
        let Some(full) = exact.or_else(|| self.services.iter().find(ends)).cloned() else {
            return Ok(None);
        };
        let service = self.service(&full).await?;
        Ok(service.methods().find(|known| known.name() == method))
    }

    /// A service with all that its messages are made of.
    pub(crate) async fn service(&mut self, name: &str) -> Result<ServiceDescriptor> {
        let mut known: Vec<FileDescriptorProto> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut wanted = VecDeque::from([Asked::FileContainingSymbol(name.to_owned())]);
        while let Some(question) = wanted.pop_front() {
            if matches!(&question, Asked::FileByName(name) if seen.contains(name)) {
                continue;
            }
            let files = match self.ask(question).await? {
                Said::Files(files) => files.files,
                other => return Err(unexpected(&other)),
            };
            for bytes in files {
                let file = FileDescriptorProto::decode(bytes)
                    .map_err(|error| broken(format!("a file that cannot be read: {error}")))?;
                if !seen.insert(file.name().to_owned()) {
                    continue;
                }
                if known.len() == MAX_FILES {
                    return Err(broken(format!("more than {MAX_FILES} files for {name}")));
                }
                wanted.extend(file.dependency.iter().cloned().map(Asked::FileByName));
                known.push(file);
            }
        }
        let mut pool = DescriptorPool::new();
        pool.add_file_descriptor_protos(known)
            .map_err(|error| broken(format!("files that do not fit: {error}")))?;
        pool.get_service_by_name(name).ok_or_else(|| broken(format!("no file has {name}")))
    }

    async fn ask(&mut self, question: Asked) -> Result<Said> {
        let sent = self.questions.send(Proto(Question { asked: Some(question) })).await;
        // Where the call is over, the answers end with the reason.
        let answer = match self.answers.message().await? {
            Some(Proto(answer)) => answer,
            None => return Err(sent.err().unwrap_or_else(|| broken("no answer".to_owned()))),
        };
        answer.said.ok_or_else(|| broken("an empty answer".to_owned()))
    }
}

fn unexpected(said: &Said) -> Error {
    broken(match said {
        Said::Refused(refused) => format!("an error: {}", refused.message),
        Said::Files(_) | Said::Services(_) => "an answer to another question".to_owned(),
    })
}

fn broken(what: String) -> Error {
    Error::internal(format!("the server's reflection gave {what}"))
}
