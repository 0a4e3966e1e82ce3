import { z } from "zod";

/**
 * The kinds of deploy/kubernetes, with the fields that are used there, as Kubernetes' own schemas (1.32) and types (1.36) have them. Objects
 * are strict, so a field that is misspelt or in the wrong place is found; a field that is new here is added after a look at
 * Kubernetes' reference.
 */

const name = z.string().regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/);
const labels = z.record(z.string(), z.string());
const metadata = z.strictObject({ name, labels: labels.optional() });
const selector = z.strictObject({ matchLabels: labels });
const quantity = z.string().regex(/^\d+(m|Ki|Mi|Gi|Ti)?$/);
const reference = z.strictObject({ name, optional: z.boolean().optional() });
const mount = z.strictObject({ name, mountPath: z.string().startsWith("/"), readOnly: z.boolean().optional() });
const seconds = z.int().positive();

const probe = z.strictObject({
  exec: z.strictObject({ command: z.array(z.string()).min(1) }),
  periodSeconds: seconds,
  timeoutSeconds: seconds,
  failureThreshold: seconds,
});

const container = z.strictObject({
  name,
  image: z.string(),
  args: z.array(z.string()).min(1),
  envFrom: z.array(z.union([z.strictObject({ configMapRef: reference }), z.strictObject({ secretRef: reference })])).optional(),
  env: z
    .array(
      z.strictObject({
        name: z.string().regex(/^[A-Z][A-Z0-9_]*$/),
        valueFrom: z.strictObject({ fieldRef: z.strictObject({ fieldPath: z.enum(["metadata.name", "spec.nodeName", "status.podIP"]) }) }),
      }),
    )
    .optional(),
  resources: z.strictObject({ requests: z.record(z.string(), quantity), limits: z.record(z.string(), quantity) }),
  volumeMounts: z.array(mount),
  startupProbe: probe.optional(),
  readinessProbe: probe.optional(),
});

const pod = z.strictObject({
  terminationGracePeriodSeconds: seconds,
  automountServiceAccountToken: z.boolean(),
  securityContext: z.strictObject({
    runAsNonRoot: z.boolean(),
    runAsUser: z.int().positive(),
    runAsGroup: z.int().positive(),
    fsGroup: z.int().positive(),
    fsGroupChangePolicy: z.enum(["OnRootMismatch", "Always"]),
  }),
  affinity: z.strictObject({
    podAntiAffinity: z.strictObject({
      requiredDuringSchedulingIgnoredDuringExecution: z.array(z.strictObject({ topologyKey: z.string(), labelSelector: selector })),
    }),
  }),
  tolerations: z.array(
    z.strictObject({
      key: z.string(),
      operator: z.enum(["Exists", "Equal"]),
      effect: z.enum(["NoSchedule", "PreferNoSchedule", "NoExecute"]),
    }),
  ),
  initContainers: z.array(container),
  containers: z.array(container).min(1),
  volumes: z.array(z.strictObject({ name, emptyDir: z.strictObject({ medium: z.enum(["", "Memory"]), sizeLimit: quantity }) })),
});

/** One host's pod, and the volumes that survive it. */
export const StatefulSet = z.strictObject({
  apiVersion: z.literal("apps/v1"),
  kind: z.literal("StatefulSet"),
  metadata,
  spec: z.strictObject({
    serviceName: name,
    replicas: z.int().positive(),
    podManagementPolicy: z.enum(["OrderedReady", "Parallel"]),
    selector,
    template: z.strictObject({ metadata: z.strictObject({ labels }), spec: pod }),
    volumeClaimTemplates: z.array(
      z.strictObject({
        metadata,
        spec: z.strictObject({
          accessModes: z.array(z.enum(["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"])),
          resources: z.strictObject({ requests: z.strictObject({ storage: quantity }) }),
        }),
      }),
    ),
  }),
});

/** Settings, each value text. */
export const ConfigMap = z.strictObject({
  apiVersion: z.literal("v1"),
  kind: z.literal("ConfigMap"),
  metadata,
  data: z.record(z.string(), z.string()),
});

/** Every kind that deploy/kubernetes may hold. */
export const Manifest = z.discriminatedUnion("kind", [
  StatefulSet,
  ConfigMap,
  z.strictObject({ apiVersion: z.literal("v1"), kind: z.literal("Namespace"), metadata }),
  z.strictObject({
    apiVersion: z.literal("v1"),
    kind: z.literal("Service"),
    metadata,
    spec: z.strictObject({ clusterIP: z.literal("None"), publishNotReadyAddresses: z.boolean(), selector: labels }),
  }),
  z.strictObject({
    apiVersion: z.literal("policy/v1"),
    kind: z.literal("PodDisruptionBudget"),
    metadata,
    spec: z.strictObject({ maxUnavailable: z.int().positive(), selector }),
  }),
  z.strictObject({
    apiVersion: z.literal("networking.k8s.io/v1"),
    kind: z.literal("NetworkPolicy"),
    metadata,
    spec: z.strictObject({
      podSelector: selector,
      policyTypes: z.array(z.enum(["Ingress", "Egress"])),
      ingress: z.array(z.strictObject({ from: z.array(z.strictObject({ podSelector: selector })) })),
    }),
  }),
]);

/** kustomize's own file. */
export const Kustomization = z.strictObject({
  apiVersion: z.literal("kustomize.config.k8s.io/v1beta1"),
  kind: z.literal("Kustomization"),
  namespace: name,
  resources: z.array(z.string()),
  images: z.array(z.strictObject({ name: z.string(), newName: z.string(), newTag: z.string() })),
});
