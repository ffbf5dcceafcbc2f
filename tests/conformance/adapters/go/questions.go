package main

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/registry"
)

// args are those of a question, with their types.
type args struct {
	name   string
	record *registry.Service
	ttl    time.Duration
}

func arguments(text string) (made args, err error) {
	var fields struct {
		Service json.RawMessage `json:"service"`
		TTL     int64           `json:"ttl"`
	}
	if text == "" {
		text = "{}"
	}
	reader := json.NewDecoder(bytes.NewReader([]byte(text)))
	reader.DisallowUnknownFields()
	if err := reader.Decode(&fields); err != nil {
		return made, errors.Newf(errors.CodeInvalidArgument, "", "the arguments are wrong: %s", err)
	}
	made.ttl = time.Duration(fields.TTL) * time.Millisecond
	switch {
	case len(fields.Service) == 0:
	case fields.Service[0] == '"':
		err = json.Unmarshal(fields.Service, &made.name)
	default:
		made.record = new(registry.Service)
		err = json.Unmarshal(fields.Service, made.record)
	}
	return made, err
}
