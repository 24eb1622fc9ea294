// A job from its channel to its model with AWS's SDK for JavaScript, which reads AWS_ENDPOINT_URL and AWS_REGION.
// node client.mjs REQUEST.json: prints what the answers were, as JSON.
import { readFileSync } from "node:fs";
import { CloudWatchLogsClient, paginateFilterLogEvents } from "@aws-sdk/client-cloudwatch-logs";
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import {
  CreatePipelineCommand,
  CreateTrainingJobCommand,
  DescribeTrainingJobCommand,
  SageMakerClient,
  SearchCommand,
  paginateListTrainingJobs,
  waitUntilTrainingJobCompletedOrStopped,
} from "@aws-sdk/client-sagemaker";
import { InvokeEndpointCommand, SageMakerRuntimeClient } from "@aws-sdk/client-sagemaker-runtime";

const request = JSON.parse(readFileSync(process.argv[2], "utf8"));
const TrainingJobName = request.TrainingJobName;
const once = { maxAttempts: 1 };
const sagemaker = new SageMakerClient(once);
const s3 = new S3Client({ ...once, forcePathStyle: true });

async function refusal(answer) {
  try {
    await answer;
    return "an answer";
  } catch (error) {
    return [error.name, error.message, error.$metadata?.httpStatusCode];
  }
}

await s3.send(new CreateBucketCommand({ Bucket: "js-bucket" }));
await s3.send(new PutObjectCommand({ Bucket: "js-bucket", Key: "train/part-0", Body: "a line\n" }));
const { TrainingJobArn } = await sagemaker.send(new CreateTrainingJobCommand(request));
const waited = await waitUntilTrainingJobCompletedOrStopped(
  { client: sagemaker, maxWaitTime: 240, minDelay: 1, maxDelay: 1 },
  { TrainingJobName },
);
const job = await sagemaker.send(new DescribeTrainingJobCommand({ TrainingJobName }));
const listed = [];
for await (const page of paginateListTrainingJobs({ client: sagemaker, pageSize: 1 }, { NameContains: TrainingJobName })) {
  listed.push(...page.TrainingJobSummaries.map((row) => row.TrainingJobName));
}
const filter = { Name: "TrainingJobName", Operator: "Equals", Value: TrainingJobName };
const found = await sagemaker.send(new SearchCommand({ Resource: "TrainingJob", SearchExpression: { Filters: [filter] } }));
const lines = [];
const stream = { logGroupName: "/aws/sagemaker/TrainingJobs", logStreamNamePrefix: `${TrainingJobName}/` };
for await (const page of paginateFilterLogEvents({ client: new CloudWatchLogsClient(once) }, stream)) {
  lines.push(...page.events.map((event) => event.message));
}
const [, , bucket, ...key] = job.ModelArtifacts.S3ModelArtifacts.split("/");
const model = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: key.join("/") }));
const bytes = await model.Body.transformToByteArray();

console.log(
  JSON.stringify({
    arn: TrainingJobArn,
    waited: waited.state,
    status: job.TrainingJobStatus,
    started: job.TrainingStartTime instanceof Date,
    seconds: job.TrainingTimeInSeconds,
    metric: job.FinalMetricDataList[0].Value,
    listed,
    found: found.Results.map((result) => result.TrainingJob.TrainingJobName),
    lines,
    model: [bytes[0], bytes[1]],
    absent: await refusal(sagemaker.send(new DescribeTrainingJobCommand({ TrainingJobName: "none" }))),
    pipeline: await refusal(sagemaker.send(new CreatePipelineCommand({ PipelineName: "p", RoleArn: request.RoleArn }))),
    invoked: await refusal(
      new SageMakerRuntimeClient(once).send(new InvokeEndpointCommand({ EndpointName: "none", Body: "{}" })),
    ),
  }),
);
