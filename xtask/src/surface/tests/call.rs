pub struct CallSettings(CallOptions);

impl Document for CallSettings {
    fn read(value: Value) -> Result<Self> {
        let timeout = |value| Value::unless_none(value, Value::duration);
        Ok(Self(CallOptions {
            timeout: fields.read_or_null("timeout", timeout)?,
            codec: fields.read("content_type", codec)?,
            routing: Routing::take(&mut fields)?,
        }))
    }
}

impl Routing {
    fn take(fields: &mut Fields) -> Result<Self> {
        Ok(Self { retries: fields.read("retries", Value::number)? })
    }
}

fn limiter(value: Value) -> Result<Limiter> {
    fields.read("patience", |value| value.time_in(&range::PATIENCE))
}
