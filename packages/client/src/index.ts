export {
  type ReceivedWebhook,
  type VerifiedWebhook,
  type WebhookVerificationCode,
  WebhookVerificationError,
  verifyWebhook,
} from "./verify-webhook.ts"
