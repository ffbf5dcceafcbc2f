package client

import (
	"context"

	"github.com/micro/micro/bindings/go/errors"
	"github.com/micro/micro/bindings/go/internal/codec"
	"github.com/micro/micro/bindings/go/internal/native"
	"github.com/micro/micro/bindings/go/registry"
)

// TaskState is how far a task has come.
type TaskState struct {
	// State is "queued", "running", "failed" (an attempt failed, and another follows), "done", or "dead": given up.
	State string
	// Attempt is that of one that runs or has failed, from 1; 0 of others.
	Attempt int
	// Node is the id of the worker's node, of one that runs.
	Node string
	// Err is why one has failed or is dead: an *errors.Error.
	Err error
}

func (r *rpc) Task(ctx context.Context, msg Message, opts ...PublishOption) (string, error) {
	terms := PublishOptions{}
	for _, opt := range opts {
		opt(&terms)
	}
	terms.set("task", true)
	payload, err := r.publish(ctx, msg, &terms)
	return string(payload), err
}

func (r *rpc) TaskResult(ctx context.Context, id string, rsp any) error {
	client, err := r.open()
	if err != nil {
		return err
	}
	asked, err := question(ctx, native.TaskResult, "id", id)
	if err != nil {
		return err
	}
	result := client.Ask(ctx, asked)
	if result.Err != nil {
		return errors.FromNative(result.Err, result.Meta)
	}
	return codec.Decode(result.Payload, uint32(result.Flags)&native.CodecMask, rsp, "the answer of the task", errors.CodeInternal)
}

func (r *rpc) TaskState(ctx context.Context, id string) (*TaskState, error) {
	type state struct {
		State   string `json:"state"`
		Attempt int    `json:"attempt"`
		Node    string `json:"node"`
		Code    int    `json:"code"`
		Error   string `json:"error"`
	}
	payload, err := r.ask(ctx, native.TaskState, "id", id)
	if err != nil {
		return nil, err
	}
	told, err := registry.Decode[state](payload)
	if err != nil {
		return nil, err
	}
	made := &TaskState{State: told.State, Attempt: told.Attempt, Node: told.Node}
	if told.Code != 0 {
		made.Err = errors.Newf(errors.Code(told.Code), "micro", "%s", told.Error)
	}
	return made, nil
}
