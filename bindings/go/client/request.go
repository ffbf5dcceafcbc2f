package client

type request struct {
	service, endpoint string
	body              any
	opts              RequestOptions
	codec             *uint32
}

func (r *rpc) NewRequest(service, endpoint string, body any, opts ...RequestOption) Request {
	made := &request{service: service, endpoint: endpoint, body: body}
	for _, opt := range opts {
		opt(&made.opts)
	}
	return made
}

// NewTyped makes a request of a codec. For the packages of this module.
func NewTyped(service, endpoint string, body any, kind uint32) Request {
	return &request{service: service, endpoint: endpoint, body: body, codec: &kind}
}

func (r *request) Service() string     { return r.service }
func (r *request) Method() string      { return r.endpoint }
func (r *request) Endpoint() string    { return r.endpoint }
func (r *request) Body() any           { return r.body }
func (r *request) Stream() bool        { return r.opts.Stream }
func (r *request) ContentType() string { return r.opts.ContentType }
