mod memory {
    use crate::config::Memory;
    use crate::config::contract::Subject;

    crate::config_source_contract!(|| {
        let source = Memory::new(serde_json::json!({})).unwrap();
        let writer = source.clone();
        Subject::new(source, move |json| writer.update(json).unwrap())
    });
}

mod file {
    use crate::config::File;
    use crate::config::contract::Subject;

    crate::config_source_contract!(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.json");
        let source = File::new(&path);
        let write = move |json: serde_json::Value| std::fs::write(&path, json.to_string()).unwrap();
        write(serde_json::json!({}));
        Subject::new(source, write).keeping(folder)
    });
}

mod folder {
    use crate::config::File;
    use crate::config::contract::Subject;

    crate::config_source_contract!(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.json");
        let write = move |json: serde_json::Value| std::fs::write(&path, json.to_string()).unwrap();
        Subject::new(File::new(folder.path()), write).keeping(folder)
    });
}
