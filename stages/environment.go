package stages

import (
	"context"
	"sync"
	"time"

	"vbp/pipeline"
	"vbp/stages/deploy"
	"vbp/stages/deploy/attach"
)

// askTimeout bounds how long plan waits for a server that already runs.
const askTimeout = 2 * time.Second

// knownEnvironments asks the servers that run already what they are, so that
// what another engine version measured is not planned to be reused. One that
// does not answer is not known; nothing is started.
func knownEnvironments(ctx context.Context, g *pipeline.Graph, reveal func(string) (string, error)) (map[string]map[string]string, error) {
	known := make(map[string]map[string]string)
	var mu sync.Mutex
	var asked sync.WaitGroup
	for _, n := range g.Nodes {
		if n.Kind != pipeline.Service {
			continue
		}
		var in deployInput
		if err := n.Input.Decode(&in); err != nil {
			return nil, err
		}
		if in.Deployment.Endpoint == "" {
			continue
		}
		asked.Go(func() {
			env, err := askEndpoint(ctx, in.Deployment, reveal)
			if err != nil {
				return // a plan is told by Starts, an apply by its own start
			}
			mu.Lock()
			defer mu.Unlock()
			known[n.ID] = env
		})
	}
	asked.Wait()
	return known, nil
}

// askEndpoint asks a server that runs already what it is.
func askEndpoint(ctx context.Context, d deploy.Deployment, reveal func(string) (string, error)) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	headers, err := revealAll(d.Headers, reveal)
	if err != nil {
		return nil, err
	}
	return attach.Ask(ctx, d, headers)
}
