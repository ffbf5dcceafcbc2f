pub(crate) struct Register {
    service: Service,
    ttl: Option<Duration>,
}

impl Args for Register {
    fn read(fields: &mut Fields) -> micro::Result<Self> {
        Ok(Self {
            service: fields.require("service", |value| value.parse("a record"))?,
            ttl: fields.read("ttl", Value::period)?,
        })
    }
}

pub(crate) async fn register(at: At, args: Register) -> micro::Result<Answer> {}

pub(crate) async fn watch(at: At, _: Nothing) -> micro::Result<Items> {}
